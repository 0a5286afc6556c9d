"""One trainer in a run folder at a time: the second is told who the first is."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from training_runs import repeatable_rows, slow_run, start, tiny_run, wait_for_rows

from glowkit.cli import main
from glowkit.system import locks
from glowkit.system.errors import GlowkitError
from glowkit.training.metrics import read_rows
from glowkit.training.run import RunFolder, only_trainer
from glowkit.training.state import read_checkpoint

SECONDS = float(os.environ.get("GLOWKIT_SECONDS", "2"))
"""How long two writers are at it; a minute before a release."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[BaseProcess]:
    """A process that trains into the folder "run"."""
    process = start(slow_run, tmp_path / "run", False, {"epochs": 100}, 0.03)
    wait_for_rows(tmp_path / "run", 1, process)
    yield process
    process.kill()
    process.join()


def test_a_second_trainer_is_refused(
    tmp_path: Path, running: BaseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    (tmp_path / "link").symlink_to(run)
    monkeypatch.chdir(tmp_path)
    for name in (run, Path("run"), tmp_path / "link", run / ".." / "run"):
        for resume in (False, True):
            with pytest.raises(GlowkitError) as caught:
                tiny_run(name, resume)
            assert str(caught.value) == (
                f"{name} is being trained by process {running.pid} on {socket.gethostname()};"
                " wait for it, stop it, or choose another folder with --out"
            )
    assert running.is_alive()
    running.kill()
    running.join()
    assert tiny_run(run, resume=True).step == 24
    assert not (run / ".lock").exists()


def test_an_interrupted_trainer_leaves_no_lock(tmp_path: Path, running: BaseProcess) -> None:
    assert running.pid is not None
    os.kill(running.pid, signal.SIGTERM)
    running.join(60)
    assert not (tmp_path / "run" / ".lock").exists()


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    tiny_run(run, epochs=1)
    left = [
        run / folder / f".99-0123456789ab.tmp{suffix}"
        for folder, suffix in (("", ".yaml"), ("model", ""), ("checkpoints", ".ckpt"))
    ]
    for path in left:
        path.write_bytes(b"half")
    with only_trainer(RunFolder(run)):
        assert not any(path.exists() for path in left)


def test_what_cannot_be_trained_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(GlowkitError, match="not a run folder"):
        tiny_run(tmp_path / "run", resume=True)
    with (
        pytest.raises(GlowkitError, match="give a larger"),
        only_trainer(RunFolder(tmp_path / "run")),
    ):
        raise GlowkitError("give a larger batch")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(descriptor: int) -> bool:
        raise OSError("no locks here")

    monkeypatch.setattr(locks, "grab", none)
    tiny_run(tmp_path / "run", epochs=1)
    with only_trainer(RunFolder(tmp_path / "run")) as lock:
        assert not lock.kept


def test_the_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    with only_trainer(RunFolder(run)), pytest.raises(SystemExit) as stopped:
        main(["train", "digits", "--epochs", "1", "--out", str(run)])
    assert stopped.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "trained by" in line]
    assert line.startswith(f"glowkit: {run} is being trained by process {os.getpid()} on ")


def contend(run: Path, told: Path) -> None:
    """Try to train into the folder again and again, and note what came of it."""
    while True:
        resume = (run / "config.yaml").exists()
        try:
            tiny_run(run, resume, epochs=10**6)
        except GlowkitError as error:
            with told.open("a") as file:
                file.write(f"{error}\n")


def test_two_writers_tear_and_lose_nothing(tmp_path: Path) -> None:
    """One trains, the other would; readers meanwhile. With GLOWKIT_SECONDS=60 for a minute."""
    run, told = tmp_path / "run", tmp_path / "told"
    first = start(slow_run, run, False, {"epochs": 10**6, "evaluate_every": 0.02}, 0.001)
    wait_for_rows(run, 1, first)
    second = start(contend, run, told)
    deadline = time.monotonic() + SECONDS
    reads, steps = 0, 0
    while time.monotonic() < deadline or not told.exists():
        text = (run / "metrics.csv").read_text()
        assert text.endswith("\n")
        rows = read_rows(run / "metrics.csv")
        assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
        assert len(rows) >= steps
        steps = len(rows)
        read_checkpoint(run / "checkpoints" / "last.ckpt")
        reads += 3
        assert first.is_alive()
    for process in (second, first):
        process.kill()
        process.join()
    sentences = told.read_text().splitlines()
    assert all(f"trained by process {first.pid} on " in sentence for sentence in sentences)
    step = read_checkpoint(run / "checkpoints" / "last.ckpt").state.step
    tiny_run(run, resume=True, epochs=(step + 1) / 6)
    assert [int(row[0]) for row in repeatable_rows(run)] == list(range(1, step + 2))
    print(f"{reads} reads, {len(sentences)} refusals, {step} rows: none torn, none lost")
