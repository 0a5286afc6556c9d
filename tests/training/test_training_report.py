"""What is shown on a terminal."""

import io

from rich.console import Console
from training_runs import CONFIG

from glowkit.training.batches import Epochs
from glowkit.training.metrics import Report
from glowkit.training.state import Plan, RunState


def test_bar_shows_figures_and_time_left() -> None:
    plan = Plan(CONFIG, Epochs(100, 16, 0))
    state = RunState(
        step=12, elapsed=30.0, skipped_steps=2, window_loss=20.0, window_seconds=1.0, window_steps=5
    )
    shown = io.StringIO()
    with Report(Console(file=shown, force_terminal=True, width=120)) as report:
        report.step(plan, state)
        report.evaluation(plan, state, 3.5)
    text = shown.getvalue()
    assert "epoch 2.0, step 12: ≤ 4.000 bits/dim, 80 images/s, 0:30 left, 2 skipped steps" in text
    assert "epoch   2.0  step     12  train ≤ 4.0000  validation ≤ 3.5000" in text
    assert "bits/dim     80 images/s  0:30 left, 2 skipped steps" in text


def test_lines_of_evaluations_stand_under_each_other_and_fit_80_columns() -> None:
    plan = Plan(CONFIG, Epochs(10_000, 16, 0))
    shown = io.StringIO()
    with Report(Console(file=shown, width=80)) as report:
        for step, best in ((12, 12), (12_345, 12)):
            state = RunState(step=step, best_step=best, elapsed=30.0, window_steps=1)
            state.window_loss = 4.0
            report.evaluation(plan, state, 3.5)
    first, second = shown.getvalue().splitlines()
    assert max(len(first), len(second)) <= 80
    for word in ("epoch", "step", "train", "validation"):
        assert first.index(word) == second.index(word)
    assert "3.5000 best" in first
    assert "best" not in second
