"""What commands say to a person: results on stdout, progress and notes on stderr.

Lines are broken between words only, at the width of the terminal or $COLUMNS; where there is
neither, as in a pipe, they stay whole.
"""

import math
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

import typer

from glowkit import __version__

_silent = False


def be_quiet(value: bool) -> bool:
    """What --quiet does."""
    global _silent
    _silent = value
    return value


QUIET = typer.Option(
    "--quiet",
    "-q",
    callback=be_quiet,
    help="No progress: results, warnings and errors only.",
    rich_help_panel="Output",
)

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], most: int = 40) -> str:
    """A curve in one line of text, of at most so many letters; what is not finite is a gap.

    >>> sparkline([3.0, 2.0, float("nan"), 1.0])
    '█▅ ▁'
    """
    every = -(-len(values) // most) or 1
    shown = list(values[::-1][::every])[::-1]  # the last is among them
    known = [value for value in shown if math.isfinite(value)]
    low, span = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    return "".join(
        _BLOCKS[round((len(_BLOCKS) - 1) * (value - low) / (span or 1))]
        if math.isfinite(value)
        else " "
        for value in shown
    )


def is_quiet() -> bool:
    """Whether the command was given --quiet, or another process of a run speaks for this one."""
    return _silent or os.environ.get("LOCAL_RANK", "0") != "0"


@contextmanager
def moving_bar(description: str, total: int | None = None) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, where that is a terminal; yields what is told done and total."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    hidden = is_quiet() or not console.is_terminal
    with Progress(console=console, transient=True, disable=hidden) as bars:
        task = bars.add_task(description, total=total)
        yield lambda done, size: bars.update(task, completed=done, total=size)


def fold(text: str, later: str = "  ", stream: TextIO | None = None) -> str:
    """The text in lines of the width of the stream, by default stdout.

    later: what lines but the first begin with.
    """
    if not os.environ.get("COLUMNS") and not (stream or sys.stdout).isatty():
        return text
    lines = textwrap.wrap(
        text,
        max(40, shutil.get_terminal_size().columns),
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def say(text: str, later: str = "  ") -> None:
    """A result, on stdout; `later` is what lines but the first begin with."""
    print(fold(text, later), flush=True)


def hint(text: str) -> None:
    """What to do next, on stdout; not of interest to those who asked for quiet."""
    if not is_quiet():
        say(text)


def header(text: str) -> None:
    """The first line of a command, there before anything heavy is imported."""
    if not is_quiet():
        print(fold(f"glowkit {__version__}: {text}"), flush=True)


def warn(text: str) -> None:
    """What is wrong with a result, on stderr, even where quiet was asked for."""
    print(fold(text, stream=sys.stderr) if sys.stderr.isatty() else text, file=sys.stderr)


def show(title: str, figures: Mapping[str, str]) -> None:
    """Print a title and figures in two columns; a longer name moves its own figure only."""
    say(title)
    width = max((len(name) for name in figures if len(name) < 20), default=0)
    for name, value in figures.items():
        say(f"  {name:<{width}}  {value}", " " * (width + 4))
