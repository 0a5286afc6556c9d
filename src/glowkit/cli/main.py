"""The table of commands, and the one place where errors become a sentence and an exit code."""

import os
import sys
from collections.abc import Sequence

import typer

from glowkit.cli.app import app
from glowkit.cli.attributes import attributes
from glowkit.cli.compare import compare
from glowkit.cli.edit import edit
from glowkit.cli.evaluate import evaluate
from glowkit.cli.import_ import import_
from glowkit.cli.interpolate import interpolate
from glowkit.cli.latents import decode, encode
from glowkit.cli.lists import data, presets
from glowkit.cli.reconstruct import reconstruct
from glowkit.cli.report import report
from glowkit.cli.sample import sample
from glowkit.cli.scales import scales
from glowkit.cli.surroundings import check_surroundings, notes, refusal
from glowkit.cli.train import train
from glowkit.core.allocator import keep_freed_memory
from glowkit.core.errors import GlowkitError

COMMANDS = (
    train,
    evaluate,
    sample,
    reconstruct,
    interpolate,
    attributes,
    edit,
    scales,
    compare,
    report,
    encode,
    decode,
    import_,
    app,
    presets,
    data,
)

table = typer.Typer(
    help="Exact-likelihood generative models of images, and of points in the plane.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    # `import` is a word of Python's own: its function has a trailing underscore.
    table.command(command.__name__.removesuffix("_"))(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 for success, 2 for bad input, 130 after an interruption."""
    # OpenMP's threads spin for a long while between torch's many small operations. On processors
    # that are busy with something else too, that made an evaluation 2.4 times as slow; elsewhere
    # a shorter spin costs nothing measurable. Read when torch is first imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    keep_freed_memory()
    try:
        check_surroundings()
        with notes():
            code = table(arguments, standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("glowkit: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        # Typer's own usage errors carry their sentence and exit code; what is neither those nor
        # ours nor the system's is a bug and keeps its traceback.
        sentence = refusal(error)
        if isinstance(error, GlowkitError):
            sentence = str(error)
        elif hasattr(error, "format_message"):
            sentence = error.format_message()
        if sentence is None:
            raise
        if isinstance(error, BrokenPipeError):  # `| head` has seen enough: nothing is wrong
            sys.exit(1)
        print(f"glowkit: {sentence}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
