"""Under a budget in minutes, evaluations take what a fifth of it has time for, always the same."""

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from training_runs import repeatable_rows, start_ranks, tiny_run, tiny_source

from glowkit.core.initialization import is_data_dependent
from glowkit.models import build
from glowkit.models.glow import GlowConfig
from glowkit.tasks import likelihood
from glowkit.training import TrainConfig, fit, loop
from glowkit.training.allowance import allowance, between_evaluations, for_validation, spread
from glowkit.training.objective import preparation
from glowkit.training.state import read_checkpoint

MINUTE: dict[str, Any] = {"epochs": None, "minutes": 1, "evaluate_every": 0.25, "batch_size": 4}


class Slow:
    """A clock that only training steps, evaluated batches and samples move, and what it saw.

    evaluations: the numbers of the examples of each evaluation, in order.
    """

    def __init__(self, batch: float, step: float = 1.0, samples: float = 0.2) -> None:
        self.now = 0.0
        self.evaluations: list[list[int]] = []
        self.batch, self.step, self.samples = batch, step, samples
        self.stop_at = math.inf
        loss, batches, draw = (
            likelihood.training_loss,
            loop.validation_batches,
            loop.draw_samples,
        )

        def slow_loss(*args: Any) -> Any:
            self.now += self.step
            if self.now >= self.stop_at:
                self.stop_at = math.inf
                os.kill(os.getpid(), signal.SIGINT)
            return loss(*args)

        def slow_batches(split: Any, *args: Any) -> Any:
            self.evaluations.append([])
            seen = SimpleNamespace(__getitems__=lambda rows: self.see(split, rows))
            for batch in batches(Counted(split, seen), *args):
                self.now += self.batch
                yield batch

        def slow_draw(run: Any) -> None:
            self.now += self.samples
            draw(run)

        self.patches = [
            (likelihood, "training_loss", slow_loss),
            (loop, "validation_batches", slow_batches),
            (loop, "draw_samples", slow_draw),
            (loop, "time", SimpleNamespace(monotonic=lambda: self.now)),
            (fit, "time", SimpleNamespace(monotonic=lambda: self.now)),
        ]

    def see(self, split: Any, rows: list[int]) -> Any:
        self.evaluations[-1] += rows
        return split.__getitems__(rows)


class Counted:
    """A split whose reader is another's."""

    def __init__(self, split: Any, reader: Any) -> None:
        self.split, self.reader = split, reader

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, rows: list[int]) -> Any:
        return self.reader.__getitems__(rows)


SlowModel = Callable[..., Slow]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowModel:
    def make(*args: Any, **named: Any) -> Slow:
        clock = Slow(*args, **named)
        for place in clock.patches:
            monkeypatch.setattr(*place)
        return clock

    return make


def state_of(run: Path) -> Any:
    return read_checkpoint(run / "checkpoints" / "last.ckpt").state


def test_a_fifth_or_a_quarter_of_a_minute() -> None:
    assert [allowance(TrainConfig(minutes=m)) for m in (0.01, 0.5, 1.25, 10)] == [15, 15, 15, 120]
    for free in (TrainConfig(epochs=3), TrainConfig(minutes=3, whole_evaluations=True)):
        assert math.isinf(allowance(free))
        assert between_evaluations(free, 1000.0) == 0


@pytest.mark.parametrize("size", [1, 2, 21, 300, 5000, 10007])
def test_examples_are_spread(size: int) -> None:
    every = spread(size, size)
    assert sorted(every) == list(range(size))
    for count in {1, size // 20 + 1, size // 3 + 1}:
        assert spread(size, count) == every[:count]
        chosen = sorted(every[:count])
        around = [*chosen, chosen[0] + size]  # the last gap leads round
        gaps = [after - before for before, after in zip(chosen, around[1:], strict=True)]
        assert max(gaps) <= 2.7 * size / count + 1
    in_turn = [row % 10 for row in spread(5000, 500)]  # as classes may be
    assert all(abs(in_turn.count(label) - 50) <= 5 for label in range(10))


def test_evaluations_stay_within_their_part(slow: SlowModel, tmp_path: Path) -> None:
    clock = slow(batch=0.3)
    result = tiny_run(tmp_path / "run", **MINUTE)
    first, *others = clock.evaluations
    assert len(others) == 2  # by the interval alone there would be three
    assert all(rows == first for rows in others)
    assert first == spread(21, len(first))
    assert 4 <= len(first) < 21
    assert result.validation_examples == len(first)
    assert result.validation_split == 21
    assert 0 < result.aside_seconds <= for_validation(TrainConfig(**MINUTE))
    assert clock.now <= 60 + 15


def test_what_is_fast_evaluates_the_whole_split(slow: SlowModel, tmp_path: Path) -> None:
    clock = slow(batch=0.01, samples=0.01)
    tiny_run(tmp_path / "run", **MINUTE)
    assert all(sorted(rows) == list(range(21)) for rows in clock.evaluations)
    assert len(clock.evaluations) == 4


def test_what_is_very_slow_is_evaluated_once(slow: SlowModel, tmp_path: Path) -> None:
    clock = slow(batch=4.0, step=9.0)
    tiny_run(tmp_path / "run", **MINUTE)
    assert [len(rows) for rows in clock.evaluations] == [4]


def test_a_short_interval_is_stretched(slow: SlowModel, tmp_path: Path) -> None:
    slow(batch=0.1)
    result = tiny_run(tmp_path / "run", **MINUTE | {"evaluate_every": 0.02})
    evaluated = [row for row in repeatable_rows(tmp_path / "run") if row[3]]
    assert 4 <= len(evaluated) < 20
    assert result.aside_seconds <= for_validation(TrainConfig(**MINUTE))


@pytest.mark.parametrize("changes", [{"epochs": 3.0, "batch_size": 4}, {"whole": True}])
def test_whole_splits_in_order(slow: SlowModel, tmp_path: Path, changes: dict[str, Any]) -> None:
    """By epochs, and on request."""
    clock = slow(batch=2.0)
    asked = MINUTE | {"whole_evaluations": True} if "whole" in changes else changes
    result = tiny_run(tmp_path / "run", **asked)
    assert len(clock.evaluations) >= 2
    assert all(rows == list(range(21)) for rows in clock.evaluations)
    assert result.validation_examples == 21
    assert state_of(tmp_path / "run").evaluated_examples == 0


def test_a_resumed_run_evaluates_the_same(slow: SlowModel, tmp_path: Path) -> None:
    clock = slow(batch=0.3)
    clock.stop_at = 40
    assert tiny_run(tmp_path / "run", **MINUTE).interrupted
    first = clock.evaluations[0]
    assert len(first) < 21
    clock.batch = 0.0  # time for all, now
    result = tiny_run(tmp_path / "run", resume=True, **MINUTE)
    assert len(clock.evaluations) > 2
    assert all(rows == first for rows in clock.evaluations)
    assert result.validation_examples == len(first) == state_of(tmp_path / "run").evaluated_examples


def test_a_checkpoint_from_before_goes_on_with_the_whole_split(
    slow: SlowModel, tmp_path: Path
) -> None:
    clock = slow(batch=0.3)
    clock.stop_at = 40
    tiny_run(tmp_path / "run", **MINUTE | {"whole_evaluations": True})
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    for name in ("aside", "evaluation_seconds", "evaluated_examples"):
        del content["state"][name]
    torch.save(content, path)
    tiny_run(tmp_path / "run", resume=True, **MINUTE)
    assert len(clock.evaluations) > 2
    assert all(rows == list(range(21)) for rows in clock.evaluations)


def as_rank(folder: Path) -> None:
    """A rank whose batches take four times as long as those of the rank before."""
    rank = int(os.environ["RANK"])
    clock = Slow(batch=0.25 * 4**rank)
    for place in clock.patches:
        setattr(*place)
    result = tiny_run(folder / "run", **MINUTE | {"batch_size": 2})
    said = [clock.evaluations, result.validation_examples]
    torch.save(said, folder / f"said-{rank}")


def test_ranks_agree(tmp_path: Path) -> None:
    processes = start_ranks(2, as_rank, tmp_path)
    for process in processes:
        process.join(90)
        assert process.exitcode == 0
    (mine, number), (other, same) = (torch.load(tmp_path / f"said-{rank}") for rank in (0, 1))
    assert number == same < 21
    assert len(mine) == len(other) > 1
    for one, two in zip(mine, other, strict=True):
        assert sorted(one + two) == sorted(spread(21, number))


def test_layers_see_fewer_images_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr(fit, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    source = tiny_source()
    model = build(GlowConfig((1, 4, 4), levels=1, steps=4, width=4, pixel_levels=8))
    seen: list[int] = []
    encode = model.encode

    def watched(x: torch.Tensor, *others: Any) -> Any:
        seen.append(len(x))
        return encode(x, *others)

    monkeypatch.setattr(model, "encode", watched)
    split, prepare = source.splits["train"], preparation(source, model)
    fit.initialize_from(model, split, prepare, 0, most=64, seconds=4)
    assert seen == [64, 16, 8]
    layers = [module for module in model.modules() if is_data_dependent(module)]
    assert layers
    assert all(layer.initialized for layer in layers)
