"""Tables of results, for the terminal and for a page."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.table import Table as RichTable

from benchmarks import limit
from benchmarks.case import Case
from benchmarks.floor import LAYOUTS
from benchmarks.rounds import fastest, ratio
from benchmarks.steps import RECOMPUTING, REVERSIBLE, STORED
from benchmarks.subjects import PEERS
from benchmarks.subjects.ours import PREFIX

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """A title, columns, and rows of text."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def rich(self) -> RichTable:
        table = RichTable(title=self.title)
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="right" if index else "left")
        for row in self.rows:
            table.add_row(*row)
        return table


def tables(name: str, rows: Rows) -> list[Table]:
    """The tables of a section."""
    return list({"steps": _steps}.get(name, _single)(name, rows))


def describe(case: dict[str, Any]) -> str:
    """A case in a few words."""
    side, precision = case["size"], case["precision"]
    k_and_l = f"K {case['steps']}, L {case['levels']}"
    return f"{side}x{side}, {k_and_l}, width {case['width']}, batch {case['batch']}, {precision}"


def _steps(name: str, rows: Rows) -> Iterator[Table]:
    kinds = dict.fromkeys((row["task"], row["case"]["precision"]) for row in rows)
    for task, precision in kinds:
        kind = [r for r in rows if (r["task"], r["case"]["precision"]) == (task, precision)]
        subjects = [n for n in kind[0]["times"] if n not in (*LAYOUTS, limit.NAME)]
        columns = [
            "case",
            "ms",
            "best peer / glowkit",
            *_modes(kind[0]),
            *subjects,
            "floor / limit",
        ]
        yield Table(f"{task}, {precision}", columns, [_times(row, subjects) for row in kind])


def _modes(row: dict[str, Any]) -> dict[str, str]:
    """What the memory that grows less, or not, costs, where a task has it."""
    times = row["times"]
    return {
        f"{name.removeprefix(PREFIX)} / store": f"{ratio(times[name], times[STORED]).median:.2f}"
        for name in (RECOMPUTING, REVERSIBLE)
        if name in times
    }


def _times(row: dict[str, Any], subjects: list[str]) -> list[str]:
    times, case = row["times"], Case(**row["case"])
    floor, peer = (fastest(times, list(others), STORED) for others in (LAYOUTS, PEERS))
    against = ratio(times[peer], times[STORED])
    bound = [seconds * limit.rounds_of(case, row["task"]) for seconds in times[limit.NAME]]
    return [
        describe(row["case"]),
        f"{1e3 * median(times[STORED]):.1f}",
        f"{against.median:.2f} ({against.low:.2f} to {against.high:.2f}) {peer}",
        *_modes(row).values(),
        *[f"{ratio(times[subject], times[floor]).median:.2f}" for subject in subjects],
        f"{ratio(times[floor], bound).median:.2f}",
    ]


def _single(name: str, rows: Rows) -> Iterator[Table]:
    yield SINGLE[name](rows)


def _parameters(rows: Rows) -> Table:
    counts = ["width", "total", "compared"]
    body = [
        [row["subject"], *[f"{row[n]:,}" for n in counts], f"{row['difference']:+.2%}"]
        for row in rows
    ]
    return Table("parameters", ["subject", *counts, "difference"], body)


def _memory(rows: Rows) -> Table:
    def show(row: dict[str, Any]) -> str:
        resident = row.get("resident")
        behind = "" if resident is None else f" ({resident / 2**20:.1f})"
        return f"{row['bytes'] / 2**20:.1f}{behind}"

    return _by_depth("peak MiB", rows, "subject", show)


def _drift(rows: Rows) -> Table:
    return _by_depth("gradient error", rows, "mode", lambda row: f"{row['error']:.1e}")


def _by_depth(title: str, rows: Rows, key: str, show: Any) -> Table:
    depths = list(dict.fromkeys(row["case"]["steps"] for row in rows))
    names = dict.fromkeys(row[key] for row in rows)
    shown = {(row[key], row["case"]["steps"]): show(row) for row in rows}
    body = [[name, *[shown[name, depth] for depth in depths]] for name in names]
    return Table(title, [title, *[f"K = {depth}" for depth in depths]], body)


def _processes(rows: Rows) -> Table:
    body = []
    for row in rows:
        one, two = row["times"].values()
        both = [f"{1e3 * median(times):.1f}" for times in (one, two)]
        body.append([describe(row["case"]), *both, f"{ratio(two, one).median:.2f}"])
    return Table("processes", ["case", "1 process, ms", "2 processes, ms", "two / one"], body)


def _gpu(rows: Rows) -> Table:
    """Every subject's ms, and in brackets its ratio to ours with stored activations."""
    names = list(dict.fromkeys(name for row in rows for name in row["times"]))
    body = []
    for row in rows:
        times = row["times"]
        shown = [
            f"{1e3 * median(times[n]):.1f} ({ratio(times[n], times[STORED]).median:.2f})"
            if n in times
            else ""
            for n in names
        ]
        body.append([f"{row['task']}, {describe(row['case'])}", *shown])
    return Table(f"ms on {rows[0]['device']}", ["case", *names], body)


def _gpu_memory(rows: Rows) -> Table:
    def show(row: dict[str, Any]) -> str:
        return f"{row['bytes'] / 2**20:.0f} ({1e3 * row['seconds']:.0f} ms)"

    return _by_depth("peak MiB on the GPU", rows, "subject", show)


def _large(rows: Rows) -> Table:
    limit_gib = rows[0]["gib"]
    columns = [f"within {limit_gib} GiB", "images", "peak GiB", "s a step", "s an image"]
    return Table("large", columns, [_fitting(row) for row in rows])


def _fitting(row: dict[str, Any]) -> list[str]:
    batch = row["batch"]
    if not batch:
        return [row["subject"], "0", "", "", ""]
    seconds = [f"{row['seconds']:.0f}", f"{row['seconds'] / batch:.1f}"]
    return [row["subject"], str(batch), f"{row['bytes'] / 2**30:.1f}", *seconds]


SINGLE: dict[str, Callable[[Rows], Table]] = {
    "parameters": _parameters,
    "memory": _memory,
    "drift": _drift,
    "ddp": _processes,
    "large": _large,
    "gpu steps": _gpu,
    "gpu memory": _gpu_memory,
}
"""The sections of one table."""
