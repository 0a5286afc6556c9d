"""The table of commands, and the one place where errors become a sentence and an exit code."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from glowkit import __version__
from glowkit.cli.app import app
from glowkit.cli.attributes import attributes
from glowkit.cli.compare import compare
from glowkit.cli.edit import edit
from glowkit.cli.evaluate import evaluate
from glowkit.cli.import_ import import_
from glowkit.cli.interpolate import interpolate
from glowkit.cli.latents import decode, encode
from glowkit.cli.line import HELP, Command, Interrupted, usage_sentence
from glowkit.cli.lists import data, presets
from glowkit.cli.reconstruct import reconstruct
from glowkit.cli.report import report
from glowkit.cli.sample import sample
from glowkit.cli.scales import scales
from glowkit.cli.speech import be_quiet, warn
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
    context_settings=HELP,
)
for command in COMMANDS:
    # `import` is a word of Python's own: its function has a trailing underscore.
    table.command(command.__name__.removesuffix("_"), cls=Command)(command)


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 for success, 2 for bad input, 130 after an interruption."""
    # OpenMP's threads spin for a long while between torch's many small operations. On processors
    # that are busy with something else too, that made an evaluation 2.4 times as slow; elsewhere
    # a shorter spin costs nothing measurable. Read when torch is first imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    keep_freed_memory()
    be_quiet(False)
    with _Interrupt() as interrupt:
        try:
            check_surroundings()
            with notes():
                code = table(arguments, prog_name="glowkit", standalone_mode=False)
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
