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
    assert "bits/dim train ≤ 4.0000, validation ≤ 3.5000, 80 images/s" in text
