"""Killed or interrupted at any moment, a run goes on as if nothing had happened."""

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import repeatable_rows, slow_run, start, tiny_run, wait_for_rows

from glowkit.system.errors import GlowkitError
from glowkit.tasks import likelihood
from glowkit.training import loop
from glowkit.training.state import read_checkpoint


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    process = start(slow_run, run, False, {}, 0.0)
    process.join(60)
    assert (run / "result").read_text() == "done"
    rows = repeatable_rows(run)
    assert [int(row[0]) for row in rows] == list(range(1, 25))
    assert [int(row[0]) for row in rows if row[3]] == [6, 12, 18, 24]
    return run


def same_run(run: Path, other: Path) -> bool:
    weights = "model/model.safetensors"
    return (
        repeatable_rows(run) == repeatable_rows(other)
        and (run / weights).read_bytes() == (other / weights).read_bytes()
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_killed_at_random_moments(uninterrupted: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    run = tmp_path / "run"
    for rows in sorted(chance.sample(range(1, 24), 3)):
        process = start(slow_run, run, run.exists(), {}, 0.02)
        wait_for_rows(run, rows, process)
        process.join(chance.uniform(0, 0.03))  # lands anywhere in a step, evaluation or save
        process.kill()
        process.join()
    process = start(slow_run, run, True, {}, 0.0)
    process.join(60)
    assert (run / "result").read_text() == "done"
    assert same_run(run, uninterrupted)
    assert not list(run.rglob("*.tmp*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_stops(
    uninterrupted: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    process = start(slow_run, run, False, {}, 0.03)
    wait_for_rows(run, 9, process)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == 0
    assert (run / "result").read_text() == "interrupted"
    rows = repeatable_rows(run)
    assert 9 <= len(rows) < 24
    assert read_checkpoint(run / "checkpoints" / "last.ckpt").state.step == len(rows)
    process = start(slow_run, run, True, {}, 0.0)
    process.join(60)
    assert same_run(run, uninterrupted)


def test_interrupted_in_an_evaluation(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(loop, "LOG_EVERY_STEPS", 1)
    bits = likelihood.bits_per_dim
    calls = []

    def interrupting(*args: object) -> torch.Tensor:
        if not torch.is_grad_enabled():
            calls.append(1)
            # Two batches of an evaluation, data and samples of its sheet, and the next's first.
            if len(calls) == 5:
                os.kill(os.getpid(), signal.SIGINT)
        return bits(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(likelihood, "bits_per_dim", interrupting)
    run = tmp_path / "run"
    result = tiny_run(run)
    assert result.interrupted
    assert result.step == 12
    assert len(repeatable_rows(run)) == 11  # the twelfth waits for its evaluation
    assert not tiny_run(run, resume=True).interrupted
    torch.set_num_threads(threads)
    assert same_run(run, uninterrupted)


def test_second_ctrl_c_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, calls = likelihood.training_loss, []

    def interrupting(*args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(1)
        if len(calls) == 9:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return loss(*args)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(likelihood, "training_loss", interrupting)
    with pytest.raises(KeyboardInterrupt):
        tiny_run(tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before
    assert tiny_run(tmp_path / "run", resume=True).step == 24


def test_finished_run_says_so_and_takes_a_larger_budget(tmp_path: Path) -> None:
    tiny_run(tmp_path / "run", epochs=1)
    with pytest.raises(GlowkitError, match=r"is finished.*at step 6; give a larger budget"):
        tiny_run(tmp_path / "run", resume=True, epochs=1)
    assert tiny_run(tmp_path / "run", resume=True, epochs=2).step == 12


def test_budget_of_minutes_keeps_its_clock(tmp_path: Path) -> None:
    changes = {"epochs": None, "minutes": 1 / 60, "evaluate_every": 0.4 / 60}
    result = tiny_run(tmp_path / "run", **changes)
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt").state
    assert state.finished
    assert 1 <= result.elapsed_seconds < 3
    evaluated = [row[0] for row in repeatable_rows(tmp_path / "run") if row[3]]
    assert 2 <= len(evaluated) <= 4
    with pytest.raises(GlowkitError, match="is finished"):
        tiny_run(tmp_path / "run", resume=True, **changes)


def test_checkpoint_loads_without_pickle(uninterrupted: Path) -> None:
    content = torch.load(uninterrupted / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["state"]["step"] == 24


def test_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    tiny_run(tmp_path / "run", epochs=1)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(GlowkitError, match=r"last\.ckpt is damaged"):
        tiny_run(tmp_path / "run", resume=True, epochs=2)
