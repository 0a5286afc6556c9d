"""What the lines of all commands have in common: -h, old names, nothing said twice or in vain."""

import math
import re
import shlex
from typing import Any

from typer.core import TyperCommand

from glowkit.cli.speech import header
from glowkit.core.errors import GlowkitError

HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"]}

# Public once, and accepted still: one thing has one name in every --help.
FORMER = {"--accelerator": "--device", "--frames": "--count", "--draws": "--count"}


class Interrupted(Exception):
    """A command was interrupted, and has not said so itself."""


class Command(TyperCommand):
    """A command that refuses an empty word, an option given twice, and a number that is none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        args = [self._present(word) for word in args]
        if any(re.fullmatch(r"(--[a-z-]+=)?", word) for word in args):
            raise GlowkitError("an argument is empty; is a variable of the shell unset?")
        try:
            _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        except Exception as error:
            # The parser does not know the command, which a usage error is to name.
            if getattr(error, "ctx", self) is None:
                error.ctx = ctx  # type: ignore[attr-defined]
            raise
        for param in given:
            once = param.param_type_name == "option" and not getattr(param, "multiple", False)
            if once and given.count(param) > 1:
                raise GlowkitError(f"{param.opts[0]} is given twice; leave one of them out")
        rest = super().parse_args(ctx, args)
        for param in self.params:
            value = ctx.params.get(param.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise GlowkitError(f"{param.opts[0]} takes a number, not {value:g}")
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run it, after a line that is there before torch is imported, which takes seconds."""
        subject = next(iter(self.params)).name if self.params else None
        named = ctx.params.get(subject)
        if named and not isinstance(named, bool) and not ctx.params.get("as_json"):
            words = named if isinstance(named, list | tuple) else [named]
            header(shlex.join([str(self.name), *map(str, words)]))
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:  # of which typer would make an exit code without a word
            raise Interrupted from error

    def _present(self, word: str) -> str:
        """The word, or the present name of an option that was renamed."""
        name, equals, value = word.partition("=")
        known = {option for param in self.params for option in param.opts}
        present = FORMER.get(name)
        return present + equals + value if present in known and name not in known else word


def usage_sentence(error: Any) -> str:
    """What typer found wrong with a line, in one sentence that says where to read more."""
    said = " ".join(str(error.format_message()).split()).rstrip(".") or "name a command"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "glowkit"
    return f"{said[:1].lower()}{said[1:]}; see {command} --help"
