"""Streams that are closed, full or of few letters, a folder that is gone, a system that refuses."""

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from glowkit.cli.speech import warn
from glowkit.core.errors import GlowkitError, GlowkitWarning


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
