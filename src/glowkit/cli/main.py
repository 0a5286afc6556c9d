"""The command line: its commands, and what the lines of all have in common."""

import io
import math
import os
import re
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType
from typing import Annotated, Any, NoReturn, TextIO

import typer
from typer.core import TyperCommand

from glowkit import __version__
from glowkit.cli import lossy, lossy_curve, lossy_train
from glowkit.cli.anomalies import anomalies
from glowkit.cli.app import app
from glowkit.cli.attributes import attributes
from glowkit.cli.common import given_line
from glowkit.cli.compare import compare
from glowkit.cli.compress import compress, decompress
from glowkit.cli.doctor import doctor
from glowkit.cli.edit import edit
from glowkit.cli.evaluate import evaluate
from glowkit.cli.export import export
from glowkit.cli.import_ import import_
from glowkit.cli.integrate import integrate
from glowkit.cli.interpolate import interpolate
from glowkit.cli.latents import decode, encode
from glowkit.cli.lists import data, presets
from glowkit.cli.push import push
from glowkit.cli.reconstruct import reconstruct
from glowkit.cli.report import report
from glowkit.cli.resonance import resonance
from glowkit.cli.sample import sample
from glowkit.cli.scales import scales
from glowkit.cli.speech import be_quiet, header, warn
from glowkit.cli.train import train
from glowkit.system.allocator import keep_freed_memory
from glowkit.system.errors import GlowkitError, GlowkitWarning

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
            name = ctx.command_path.partition(" ")[2]
            header(f"{name} {shlex.join(map(str, words))}")
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


def check_surroundings() -> None:
    """Let no letter that a terminal lacks end a command; and no message go where it should not.

    Raises GlowkitError when standard output is closed: what a command opened first would take its
    place, and what is printed would go there. And when the current folder was deleted, in which
    libraries end the process by themselves.
    """
    if sys.stderr is None:  # print(file=None) would write on standard output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        raise GlowkitError("standard output is closed; send it to a file, or to /dev/null")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        os.getcwd()
    except OSError as error:
        raise GlowkitError("the current folder does not exist any more; go to another") from error


@contextmanager
def notes() -> Iterator[None]:
    """Print warnings of ours as notes on stderr, each sentence once."""
    said: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, GlowkitWarning):
            others(message, category, filename, lineno, file, line)
        elif str(message) not in said:
            said.add(str(message))
            warn(f"note: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", GlowkitWarning)
        others, warnings.showwarning = warnings.showwarning, show
        yield


def refusal(error: Exception) -> str | None:
    """The sentence for what the system refuses; None for what is no such error, but a mistake."""
    if isinstance(error, OSError):
        return _of_system(error)
    refused = ("can't allocate memory", "not enough memory", "out of memory")
    if isinstance(error, MemoryError) or any(word in str(error) for word in refused):
        return "there is not enough memory for this; ask for fewer or smaller images at a time"
    return None


def _of_system(error: OSError) -> str | None:
    if error.errno is None:
        return None
    reason = os.strerror(error.errno).lower()
    if _is_lost(sys.stdout):
        return f"cannot write to standard output: {reason}"
    if error.filename is not None:
        name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
        return f"cannot use {name}: {reason}"
    # What is written to a file of ours has a sentence of its own: what is left is what is printed.
    return f"cannot print, or keep a temporary file: {reason}"


def _is_lost(stream: TextIO) -> bool:
    """Whether what was printed cannot leave; what is left of it is then dropped."""
    try:
        stream.flush()
    except OSError:
        with suppress(OSError, ValueError):  # or the interpreter would complain again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return True
    return False


PANELS = {
    "Train": (train, evaluate, report, import_, export, push),
    "Look": (sample, reconstruct, interpolate, attributes, edit, scales, compare, app),
    "Use": (anomalies, resonance, integrate, encode, decode, compress, decompress),
    "What there is": (presets, data, doctor),
}
"""The commands, under the headings of `glowkit --help`."""

COMMANDS = tuple(command for listed in PANELS.values() for command in listed)

table = typer.Typer(
    help="Exact-likelihood generative models of images, and of points in the plane.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings=HELP,
)
for panel, listed in PANELS.items():
    for command in listed:
        # `import` is a word of Python's own: its function has a trailing underscore.
        name = command.__name__.removesuffix("_")
        table.command(name, cls=Command, rich_help_panel=panel)(command)


LOSSY = (lossy_train.train, lossy.compress, lossy.decompress, lossy_curve.curve)

group = typer.Typer(
    help="Images in fewer bits than lossless, by a flow that was trained for it.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings=HELP,
)
for lossy_command in LOSSY:
    group.command(lossy_command.__name__, cls=Command)(lossy_command)
table.add_typer(group, name="lossy", rich_help_panel="Use")


def _say_version(asked: bool) -> None:
    if asked:
        print(f"glowkit {__version__}")
        raise typer.Exit


@table.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_say_version, help="Say it, and stop."),
    ] = False,
) -> None:
    """Exact-likelihood generative models of images, and of points in the plane."""


@cache
def commands() -> Any:
    """What typer makes of the table: a tenth of a second's work, so once in a process."""
    return typer.main.get_command(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 for success, 2 for bad input, 130 after an interruption."""
    # OpenMP's threads spin for a long while between torch's many small operations. On processors
    # that are busy with something else too, that made an evaluation 2.4 times as slow; elsewhere
    # a shorter spin costs nothing measurable. Read when torch is first imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    keep_freed_memory()
    be_quiet(False)
    given_line(sys.argv[1:] if arguments is None else arguments)
    with _Interrupt() as interrupt:
        try:
            check_surroundings()
            with notes():
                code = commands()(arguments, prog_name="glowkit", standalone_mode=False)
            sys.stdout.flush()
        except BaseException as error:
            # A library that is interrupted while it is imported may raise anything.
            if interrupt.came or isinstance(error, KeyboardInterrupt | Interrupted):
                _end("interrupted", 130)
            if isinstance(error, BrokenPipeError):  # `| head` has seen enough: nothing is wrong
                sys.exit(1)
            # Typer's own usage errors carry their sentence; what is neither those nor ours nor the
            # system's is a bug and keeps its traceback.
            sentence = refusal(error) if isinstance(error, Exception) else None
            if isinstance(error, GlowkitError):
                sentence = str(error)
            elif hasattr(error, "format_message"):
                sentence = usage_sentence(error)
            if sentence is None:
                raise
            _end(sentence, 2)
        if interrupt.came and code == 130:  # while the line was read
            _end("interrupted", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _end(sentence: str, code: int) -> NoReturn:
    warn(f"glowkit: {sentence}")
    raise SystemExit(code) from None


SECONDS_TO_END = 3.0


class _Interrupt:
    """Remembers that Ctrl-C or SIGTERM came, either of which ends the command in the same way."""

    def __enter__(self) -> "_Interrupt":
        self.came = False
        self._again: threading.Timer | None = None
        self._former: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._ask_no_more()
        for number, handler in self._former.items():
            # None is a handler that was not installed from Python, and cannot be from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _ask_no_more(self) -> None:
        if self._again is not None:
            self._again.cancel()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        self._ask_no_more()
        # Whatever runs just now may swallow the exception: a callback, or a library's import.
        self._again = threading.Timer(SECONDS_TO_END, signal.raise_signal, [number])
        self._again.daemon = True
        self._again.start()
        raise KeyboardInterrupt
