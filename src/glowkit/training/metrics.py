"""What a run tells: metrics.csv, a row for each of its steps, and lines for people."""

import csv
import io
import math
import os
import re
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from glowkit.system.errors import GlowkitError
from glowkit.system.files import write_atomically
from glowkit.tasks.likelihood import SIGNS
from glowkit.training.objective import IMAGES, Objective
from glowkit.training.run import RunFolder, sentences
from glowkit.training.state import Plan, RunState

Row = dict[str, str]

_STEP = re.compile(r"[0-9]{1,18}")


def read_rows(path: Path) -> list[Row]:
    """The whole rows of a metrics.csv, as text by column; none if there is no file.

    The last one counts only with its end of line: half a number also reads as a number.
    Raises GlowkitError, naming the line, for one that is damaged.
    """
    rows = []
    for row in _rows(path):
        if isinstance(row, GlowkitError):
            raise row
        rows.append(row)
    return rows


def rows_until(path: Path, step: int) -> list[Row]:
    """The rows of the steps up to this one, in order, whatever is wrong behind them.

    Of several rows of a step, which two trainers in one folder once could leave, the last counts.
    Raises GlowkitError for damage that such a row follows: no kill leaves that.
    """
    rows: dict[int, Row] = {}
    damage: GlowkitError | None = None
    for row in _rows(path):
        if isinstance(row, GlowkitError):
            damage = damage or row
        elif int(row["step"]) <= step:
            if damage:
                raise damage
            rows[int(row["step"])] = row
    return [rows[number] for number in sorted(rows)]


def _rows(path: Path) -> Iterator[Row | GlowkitError]:
    """What each whole line holds: a row, or what to say about it.

    Raises GlowkitError when the first line, without which no other means anything, is damaged.
    """
    if not path.is_file():
        return
    try:
        text = path.read_bytes()
    except OSError as error:
        raise GlowkitError(f"cannot read {path}: {error.strerror}") from error
    head, *lines = text.decode("utf-8-sig", errors="replace").split("\n")
    if not lines:  # not even the first line is whole
        return
    columns = head.rstrip("\r").split(",")
    if "step" not in columns or len(set(columns)) < len(columns):
        raise _damage(path, 1, "it does not name the columns")
    for number, line in enumerate(lines[:-1], 2):
        cells = line.rstrip("\r").split(",")
        row = dict(zip(columns, cells, strict=False))
        if len(cells) != len(columns):
            yield _damage(path, number, f"it has {len(cells)} cells, not {len(columns)}")
        elif not _STEP.fullmatch(row["step"]):
            yield _damage(path, number, f"its step is {row['step'][:20]!r}")
        elif not all(map(_is_figure, cells)):
            yield _damage(path, number, "a cell is not a number")
        else:
            yield row


def _is_figure(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _damage(path: Path, number: int, what: str) -> GlowkitError:
    return GlowkitError(
        f"{path} is damaged in line {number}: {what}; repair or remove that line, or move the file"
        " away"
    )


class MetricsFile:
    """Writes metrics.csv, going on from the rows of the run that it resumes.

    after_step: the last step whose row counts. Rows of later steps, written before a kill but
    after the last checkpoint, are dropped, since the resumed run writes them again; so is a
    damaged end. Rows are appended, each in one piece, the one thing in a run folder that is not
    written whole; no step has two.

    Raises GlowkitError for a file that is damaged before its end, or cannot be written.
    """

    def __init__(self, path: Path, after_step: int, columns: Sequence[str]) -> None:
        self.columns = columns
        self.path = path
        self._file: io.FileIO | None = None
        self._last: dict[str, Any] = {}
        self._keep(after_step)

    def _keep(self, after_step: int) -> None:
        rows = rows_until(self.path, after_step)
        unknown = set(rows[0]) - set(self.columns) if rows else set()
        if unknown:
            raise GlowkitError(
                f"{self.path} has columns that this run does not write:"
                f" {', '.join(sorted(unknown))}; move the file away"
            )
        self._write(rows)

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the file by these rows."""
        self._close()
        head = io.StringIO(newline="")
        csv.DictWriter(head, self.columns, lineterminator="\n").writeheader()
        text = head.getvalue() + "".join(map(self._line, rows))
        write_atomically(self.path, text.encode())
        self._last = dict(rows[-1]) if rows else {}

    def _line(self, row: Mapping[str, Any]) -> str:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self.columns, lineterminator="\n").writerow(row)
        return text.getvalue()

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a row; a figure that is missing leaves its cell empty.

        A second row for the last step, such as its evaluation when a resumed run has another
        budget, completes the first.
        """
        row = {"step": step, **metrics}
        if str(step) == str(self._last.get("step")):
            known = {name: value for name, value in row.items() if not _missing(value)}
            self._write([*rows_until(self.path, int(self._last["step"]) - 1), self._last | known])
            return
        with sentences(self.path):
            if self._file is None:
                self._file = io.FileIO(self.path, "a")
            # One call of the system for a whole row: whoever reads meanwhile sees all or nothing.
            self._file.write(self._line(row).encode())
        self._last = row

    def save(self) -> None:
        """Sync, so that the rows are on disk before the checkpoint that relies on them."""
        if self._file is not None:
            with sentences(self.path):
                os.fsync(self._file.fileno())

    def finalize(self, status: str) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _missing(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


_REFRESH_SECONDS = 0.25
WIDE = 110  # letters of a terminal that has room for all


class Report:
    """A progress bar on a terminal; elsewhere, as in a log file, one line an evaluation.

    Writes to stderr, since stdout belongs to results.
    """

    def __init__(
        self, console: Console, subject: Objective = IMAGES, sign: str = SIGNS["bound"]
    ) -> None:
        self.subject = subject
        self.sign = sign
        self.console = console
        self._bar: Progress | None = None
        self._shown = -math.inf

    def __enter__(self) -> "Report":
        if self.console.is_terminal:
            self._bar = Progress(
                BarColumn(bar_width=24 if self.console.width >= WIDE else 6),
                TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=False)),
                console=self.console,
                auto_refresh=False,  # a thread of rich's own would take time from training
                transient=True,
            )
            self._bar.add_task("starting", total=1.0)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def step(self, plan: Plan, state: RunState) -> None:
        """Show the present step, a few times a second."""
        now = time.monotonic()
        if self._bar is None or now - self._shown < _REFRESH_SECONDS:
            return
        self._shown = now
        self._bar.update(
            self._bar.task_ids[0],
            completed=plan.progress(state),
            description=f"{_place(plan, state)}: {self.sign} {state.window_figure:.3f}"
            f" {self.subject.unit}, "
            f"{self._pace(plan, state)}",
            refresh=True,
        )

    def evaluation(self, plan: Plan, state: RunState, validation: float) -> None:
        """One plain line, aligned with those before it; above the bar where there is one."""
        best = "best" if state.best_step == state.step else "    "
        place = f"epoch {plan.epoch(state):5.1f}  step {state.step:6}"
        train = f"train {self.sign} {state.window_figure:.4f}"
        figures = f"{place}  {train}  validation {self.sign} {validation:.4f} {best}"
        left = f"{_clock(plan.seconds_left(state))} left"
        # By the width alone: lines of one run are of one form.
        if self.console.width >= WIDE:
            pace = f"{plan.images_per_second(state):,.0f} {self.subject.things}/s"
            figures = f"{figures}  {self.subject.unit}  {pace:>14}"
        self.note(f"{figures}  {left}{_skipped(state)}")

    def examples(self, taken: int, whole: int) -> None:
        """Say how much of the validation split its figures are of, where that is not all (0)."""
        if 0 < taken < whole:
            self.note(
                f"note: validation figures are of {taken:,} of {whole:,} {self.subject.things},"
                " evenly spread, as the budget has time for; --whole-evaluations takes all"
            )

    def note(self, sentence: str) -> None:
        """One plain line, or more where the terminal is narrow, broken between words."""
        lines = textwrap.wrap(
            sentence,
            self.console.width,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        self.console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)

    def _pace(self, plan: Plan, state: RunState) -> str:
        left = _clock(plan.seconds_left(state))
        pace = f"{plan.images_per_second(state):,.0f} {self.subject.things}/s"
        return f"{pace}, {left} left{_skipped(state)}"


def _skipped(state: RunState) -> str:
    return f", {state.skipped_steps} skipped steps" if state.skipped_steps else ""


def _place(plan: Plan, state: RunState) -> str:
    return f"epoch {plan.epoch(state):.1f}, step {state.step}"


def _clock(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


Loggers = list[Any]
"""MetricsFile, and Lightning's logger for TensorBoard."""


@contextmanager
def open_loggers(folder: RunFolder, state: RunState, columns: Sequence[str]) -> Iterator[Loggers]:
    """metrics.csv and `tensorboard/`; rows after the state, from before a kill, do not count."""
    from lightning.fabric.loggers.tensorboard import TensorBoardLogger

    with sentences(folder.path):
        board = TensorBoardLogger(folder.path, "tensorboard", "", purge_step=state.step + 1)
    loggers: Loggers = [
        MetricsFile(folder.metrics, state.logged_step, columns),
        board,
    ]
    try:
        yield loggers
    finally:
        with sentences(folder.path):
            for logger in loggers:
                logger.finalize("success")
