"""A disk that is full, or cannot be written: one sentence, and what was saved before survives."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from training_runs import repeatable_rows, tiny_run

from glowkit.system.errors import GlowkitError
from glowkit.training import loop
from glowkit.training import state as checkpoint
from glowkit.training.metrics import MetricsFile, read_rows
from glowkit.training.objective import IMAGES


def test_full_disk_keeps_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, saves = tmp_path / "run", []
    write = torch.save

    def full(content: Any, file: Any) -> None:
        saves.append(1)
        if len(saves) == 4:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(content, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(GlowkitError, match=r"cannot write .*last\.ckpt.*[Nn]o space left"):
        tiny_run(run)
    monkeypatch.undo()
    assert checkpoint.read_checkpoint(run / "checkpoints" / "last.ckpt").state.step == 12
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    tiny_run(run, resume=True)
    tiny_run(tmp_path / "other")
    assert repeatable_rows(run) == repeatable_rows(tmp_path / "other")


def test_full_disk_for_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY_STEPS", 1)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(MetricsFile, "log_metrics", full)
    with pytest.raises(GlowkitError, match=r"cannot write .*run.*resume the run"):
        tiny_run(tmp_path / "run")


def test_full_disk_for_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the thread that writes them: what it met, it raises at every later call."""
    written: list[str] = []

    def full(self: Any, *_: Any) -> None:
        written.append("")
        if len(written) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("log_metrics", "save", "finalize"):
        monkeypatch.setattr(TensorBoardLogger, name, full)
    with pytest.raises(GlowkitError, match=r"cannot write .*run: .*resume the run"):
        tiny_run(tmp_path / "run")
    monkeypatch.undo()
    assert tiny_run(tmp_path / "run", resume=True).step == 24


def test_run_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GlowkitError, match="cannot write"):
        tiny_run(tmp_path / "file" / "run")


def test_rows_after_the_checkpoint_and_torn_rows_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    first = MetricsFile(path, 0, IMAGES.columns)
    for step in (1, 2, 3):
        first.log_metrics({"train_bits_per_dim": step / 2}, step)
    first.finalize("")
    with path.open("a") as file:
        file.write("4,0.5,1")
    assert [row["step"] for row in read_rows(path)] == ["1", "2", "3"]
    second = MetricsFile(path, 2, IMAGES.columns)
    second.log_metrics({"train_bits_per_dim": 9.0}, 3)
    second.finalize("")
    assert [row["train_bits_per_dim"] for row in read_rows(path)] == ["0.5", "1.0", "9.0"]
