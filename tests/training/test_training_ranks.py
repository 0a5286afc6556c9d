"""Two processes with half of every batch are one process with the whole of it."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import (
    repeatable_rows,
    slow_run,
    start,
    start_ranks,
    tiny_run,
    wait_for_rows,
)

from glowkit.core.noise import MIDPOINT
from glowkit.models import build
from glowkit.tasks import likelihood
from glowkit.training import fit, loop
from glowkit.training.metrics import read_rows


def ranked_run(run: Path, spoil_rank: int, memory: str) -> None:
    """The tiny run in float64 without dequantization noise; each rank writes what it starts from.

    Ranks initialise from different images, so that only a broadcast can make them agree; one rank
    meets a loss that is not finite in step 3.
    """
    torch.set_num_threads(1)
    rank = int(os.environ.get("RANK", "0"))
    loop.LOG_EVERY_STEPS = 1
    bits, loss, initialize = (
        likelihood.bits_per_dim,
        likelihood.training_loss,
        fit.initialize_from,
    )
    steps = iter(range(10**6))

    def spoilt(model: Any, images: Any, context: Any, _: Any) -> Any:
        total, mean = loss(model, images, context, MIDPOINT)
        bad = next(steps) == 3 and rank == spoil_rank
        return (total + float("inf"), mean + float("inf")) if bad else (total, mean)

    likelihood.training_loss = spoilt
    likelihood.bits_per_dim = lambda m, x, c, _: bits(m, x, c, MIDPOINT)
    fit.build = lambda config: build(replace(config, memory=memory)).double()
    fit.initialize_from = lambda m, split, prepare, seed, *others: initialize(
        m, split, prepare, seed + 100 * rank, *others
    )
    train_loop = fit.train_loop

    def recording(training: Any) -> None:
        torch.save(training.model.state_dict(), run.with_name(f"{run.name}-start-{rank}"))
        averages = training.average.model.state_dict()
        torch.save(averages, run.with_name(f"{run.name}-ema-{rank}"))
        train_loop(training)

    fit.train_loop = recording
    result = tiny_run(run, epochs=2)
    run.with_name(f"{run.name}-result-{rank}").write_text(repr(result))


@pytest.mark.parametrize("memory", ["store", "reversible"])
def test_two_processes_are_one(tmp_path: Path, memory: str) -> None:
    """Whatever memory they use: the one process stores all activations."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    one = start(ranked_run, alone, 0, "store")
    processes = [one, *start_ranks(2, ranked_run, together, 1, memory)]
    for process in processes:
        process.join(90)
        assert process.exitcode == 0
    for kind in ("start", "ema"):
        one, other = (torch.load(tmp_path / f"together-{kind}-{rank}") for rank in (0, 1))
        assert all(torch.equal(one[name], other[name]) for name in one)
    rows = list(zip(repeatable_rows(alone), repeatable_rows(together), strict=True))
    assert len(rows) == 12
    for row, other_row in rows:
        for figure, other_figure in zip(row, other_row, strict=True):
            if figure != other_figure:
                assert float(other_figure) == pytest.approx(float(figure), rel=1e-9, nan_ok=True)
    # Rank 1 alone met the infinite loss; both skipped the step, and said so.
    assert [row["skipped_steps"] for row in read_rows(together / "metrics.csv")][2:5] == [
        "0", "1", "1",
    ]  # fmt: skip
    results = [(tmp_path / f"together-result-{rank}").read_text() for rank in (0, 1)]
    assert all("skipped_steps=1" in result for result in results)


def test_interruption_of_one_rank_stops_both(tmp_path: Path) -> None:
    run = tmp_path / "run"
    processes = start_ranks(2, slow_run, run, False, {}, 0.03)
    wait_for_rows(run, 5, processes[0])
    assert processes[1].pid is not None
    os.kill(processes[1].pid, signal.SIGTERM)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert (run / "result").read_text() == "interrupted"
    processes = start_ranks(2, slow_run, run, True, {}, 0.0)
    for process in processes:
        process.join(60)
    assert [int(row[0]) for row in repeatable_rows(run)] == list(range(1, 25))
