"""Measure a section, keep it and show it."""

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.case import Case
from benchmarks.ddp import time_processes
from benchmarks.large import measure_large
from benchmarks.parameters import count_parameters
from benchmarks.results import add_section
from benchmarks.steps import time_steps
from benchmarks.subjects import builders
from benchmarks.tables import tables

PAGE_WIDTH = 140
"""Columns of what is printed to a file, where nothing says how wide it may be."""


def record(out: Path, name: str, measure: Callable[[], Iterable[dict[str, Any]]]) -> None:
    """Put what `measure` gives into the results file, with command and duration; print it.

    Row by row, so that an error in a late one costs no hour.
    """
    start = time.perf_counter()
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    rows = []
    for row in measure():
        rows.append(row)
        add_section(out, name, command, time.perf_counter() - start, rows)
    console = Console(width=None if sys.stdout.isatty() else PAGE_WIDTH)
    for table in tables(name, rows):
        console.print(table.rich())
    console.print(f"{name}: {time.perf_counter() - start:.0f} s, written to {out}")


def record_steps(
    out: Path, cases: list[Case], rounds: int, threads: int, compiled: bool = False
) -> None:
    """Parameter counts of the first case of every width, then the times of every case."""
    widths = {case.width: case for case in reversed(cases)}.values()
    record(out, "parameters", lambda: (row for case in widths for row in count_parameters(case)))
    record(
        out,
        "steps",
        lambda: (row for case in cases for row in time_steps(case, rounds, threads, compiled)),
    )


def record_processes(out: Path, case: Case, rounds: int, threads: int) -> None:
    """Two processes against one."""
    record(out, "ddp", lambda: [time_processes(case, rounds, threads)])


def record_large(out: Path, case: Case, gib: int, threads: int) -> None:
    """The largest batch of a large Glow that fits into memory."""
    record(out, "large", lambda: measure_large(case, builders(), gib, threads))
