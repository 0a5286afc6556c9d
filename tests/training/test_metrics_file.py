"""metrics.csv: each step once, whatever was killed, damaged or asked for twice."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_runs import repeatable_rows, tiny_run

from glowkit.system.errors import GlowkitError
from glowkit.training import loop
from glowkit.training.metrics import MetricsFile, read_rows
from glowkit.training.objective import IMAGES
from glowkit.training.state import read_checkpoint, write_checkpoint

HEAD = ",".join(IMAGES.columns)
ROW = "{},1.0,2.5,3.25,,0.001,7.5,100.0,0"


def write(path: Path, *lines: str, end: str = "\n") -> Path:
    path.write_bytes(("\n".join([HEAD, *lines]) + end).encode())
    return path


def opened(path: Path, after_step: int) -> list[str]:
    """The steps that are left when a run goes on after this step."""
    MetricsFile(path, after_step, IMAGES.columns).finalize("")
    return [row["step"] for row in read_rows(path)]


@pytest.mark.parametrize(
    "tail",
    [
        "4,1.0,2",
        "4,1.0,2\n",
        "\0" * 40 + "\n",
        "4;1.0\n",
        "x" + ROW.format(4) + "\n",
        ROW.format(4).replace("7.5", "7,5") + "\n" + ROW.format(5) + "\n",
        "\xff\xfe\n\n",
    ],
)
def test_a_damaged_end_is_cut(tmp_path: Path, tail: str) -> None:
    path = write(tmp_path / "metrics.csv", *map(ROW.format, (1, 2, 3)), end="\n" + tail)
    assert opened(path, 3) == ["1", "2", "3"]
    assert path.read_text() == "\n".join([HEAD, *map(ROW.format, (1, 2, 3))]) + "\n"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("1,2", "it has 2 cells, not 9"),
        (ROW.format("one"), "its step is 'one'"),
        (ROW.format("9" * 5000), "its step is '99999999999999999999'"),
        (ROW.format(2).replace("2.5", "2.5.1"), "a cell is not a number"),
    ],
)
def test_damage_before_the_end_is_said(tmp_path: Path, line: str, what: str) -> None:
    path = write(tmp_path / "metrics.csv", ROW.format(1), line, ROW.format(3))
    sentence = f"{path} is damaged in line 3: {what}; repair or remove that line"
    for read in (lambda: opened(path, 3), lambda: read_rows(path)):
        with pytest.raises(GlowkitError) as caught:
            read()
        assert str(caught.value).startswith(sentence)
    assert opened(path, 1) == ["1"]  # behind what counts it is no matter


def test_a_damaged_first_line_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.csv", ROW.format(1))
    for first in ("", "no header", HEAD + ",step"):
        path.write_text(f"{first}\n{ROW.format(1)}\n")
        with pytest.raises(GlowkitError, match="line 1: it does not name the columns"):
            read_rows(path)
    path.write_text(f"{HEAD.replace('epoch', 'époque')}\n{ROW.format(1)}\n")
    with pytest.raises(GlowkitError, match="columns that this run does not write: époque"):
        opened(path, 1)


def test_what_two_trainers_once_left_counts_once(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.csv", *map(ROW.format, (1, 2, 1, 2, 3)))
    assert opened(path, 2) == ["1", "2"]


def test_lines_of_another_system_are_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEAD}\r\n{ROW.format(1)}\r\n".encode())
    assert opened(path, 1) == ["1"]


def test_a_second_row_of_a_step_completes_the_first(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.csv", *map(ROW.format, (1, 2)))
    file = MetricsFile(path, 2, IMAGES.columns)
    second = {"train_bits_per_dim": math.nan, "validation_bits_per_dim": 3.0, "epoch": 1.0}
    file.log_metrics(second, 2)
    file.log_metrics({"train_bits_per_dim": 3.0}, 3)
    file.log_metrics({"validation_bits_per_dim": 4.0}, 3)
    file.finalize("")
    rows = read_rows(path)
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert [row["train_bits_per_dim"] for row in rows] == ["3.25", "3.25", "3.0"]
    assert [row["validation_bits_per_dim"] for row in rows] == ["", "3.0", "4.0"]


def test_evaluated_after_an_interruption_and_killed_before_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of a step is written, but the checkpoint of that step is from before its row."""
    monkeypatch.setattr(loop, "LOG_EVERY_STEPS", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = tmp_path / "run"
    tiny_run(run, epochs=1)
    last = run / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(last)
    assert checkpoint.state.step == 6
    row = read_rows(run / "metrics.csv")[-1]
    checkpoint.state = replace(
        checkpoint.state,
        evaluated_step=0,
        finished=False,
        window_steps=1,
        window_loss=float(row["train_bits_per_dim"]),
        window_norm=float(row["gradient_norm"]),
    )
    write_checkpoint(last, checkpoint)
    before = repeatable_rows(run)
    tiny_run(run, resume=True, epochs=1)
    assert repeatable_rows(run) == before
    torch.set_num_threads(threads)


def test_a_budget_that_ends_at_a_logged_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY_STEPS", 1)
    monkeypatch.setattr(loop, "SAVE_EVERY_SECONDS", 0.0)
    run = tmp_path / "run"
    log = MetricsFile.log_metrics

    def failing(self: MetricsFile, metrics: dict[str, float], step: int) -> None:
        if step == 4:
            raise OSError("stopped here")
        log(self, metrics, step)

    with monkeypatch.context() as patch:
        patch.setattr(MetricsFile, "log_metrics", failing)
        with pytest.raises(GlowkitError, match="stopped here"):
            tiny_run(run)
    assert tiny_run(run, resume=True, epochs=0.5).step == 3
    rows = repeatable_rows(run)
    assert [int(row[0]) for row in rows] == [1, 2, 3]
    assert rows[-1][2] != "nan"
    assert rows[-1][3] != ""
