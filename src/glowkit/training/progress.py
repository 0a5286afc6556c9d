"""What a person sees while a model trains."""

import math
import textwrap
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from glowkit.training.objective import IMAGES, Objective
from glowkit.training.state import Plan, RunState

_REFRESH_SECONDS = 0.25


class Report:
    """A progress bar on a terminal; elsewhere, as in a log file, one line an evaluation.

    Writes to stderr, since stdout belongs to results.
    """

    def __init__(self, console: Console, subject: Objective = IMAGES) -> None:
        self.subject = subject
        self.console = console
        self._bar: Progress | None = None
        self._shown = -math.inf

    def __enter__(self) -> "Report":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        if self.console.is_terminal:
            self._bar = Progress(
                BarColumn(bar_width=24 if self.console.width >= 110 else 6),
                TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=False)),
                console=self.console,
                auto_refresh=False,  # a thread of rich's own would take time from training
                transient=True,
            )
            self._bar.add_task("starting", total=1.0)
            self._bar.start()

    def step(self, plan: Plan, state: RunState) -> None:
        """Show the present step, a few times a second."""
        now = time.monotonic()
        if self._bar is None or now - self._shown < _REFRESH_SECONDS:
            return
        self._shown = now
        self._bar.update(
            self._bar.task_ids[0],
            completed=plan.progress(state),
            description=f"{_place(plan, state)}: {state.window_figure:.3f} {self.subject.unit}, "
            f"{self._pace(plan, state)}",
            refresh=True,
        )

    def evaluation(self, plan: Plan, state: RunState, validation: float) -> None:
        """One plain line; above the bar where there is one."""
        best = " (best)" if state.best_step == state.step else ""
        train, validated = f"train {state.window_figure:.4f}", f"validation {validation:.4f}{best}"
        pace = self._pace(plan, state)
        short = f"{_place(plan, state)}: {train}, {validated}"
        lines = (
            f"{_place(plan, state)}: {self.subject.unit} {train}, {validated}, {pace}",
            f"{short}, {pace}".replace(f" {self.subject.things}/s", "/s"),
            f"{short}, {pace.partition(', ')[2]}",
        )
        self.note(next((line for line in lines if len(line) <= self.console.width), lines[-1]))

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

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _pace(self, plan: Plan, state: RunState) -> str:
        skipped = f", {state.skipped_steps} skipped steps" if state.skipped_steps else ""
        left = _clock(plan.seconds_left(state))
        pace = f"{plan.images_per_second(state):,.0f} {self.subject.things}/s"
        return f"{pace}, {left} left{skipped}"


def _place(plan: Plan, state: RunState) -> str:
    return f"epoch {plan.epoch(state):.1f}, step {state.step}"


def _clock(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
