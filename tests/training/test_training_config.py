"""Settings, schedules, and the sentences for what cannot be trained."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import CONFIG, MODEL, tiny_run, tiny_source

from glowkit.data.source import ImageSplit
from glowkit.nets.batchnorm import BatchShare
from glowkit.system.errors import GlowkitError
from glowkit.training import TrainConfig, read_run, train
from glowkit.training.batches import Prepare, permutation, plan_epochs, train_loader
from glowkit.training.config import ema_decay_at, learning_rate_factor
from glowkit.training.run import write_settings


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epochs": 0}, "a training budget of 0 epochs trains nothing"),
        ({"minutes": -1.0}, "a training budget of -1 minutes trains nothing"),
        ({"minutes": float("nan")}, "budget of nan minutes"),
        ({}, "either epochs or minutes"),
        ({"epochs": 1, "minutes": 1}, "either epochs or minutes"),
        ({"epochs": 1, "optimizer": "sgd"}, "unknown optimizer 'sgd'; choose adamax or adamw"),
        (
            {"epochs": 1, "precision": "int8"},
            "unknown precision .int8.; choose float32 or bfloat16",
        ),
        ({"epochs": 1, "batch_size": 0}, "batch_size 0 cannot work; give 1 or more"),
        ({"epochs": 1, "learning_rate": 0.0}, "learning_rate"),
        ({"epochs": 1, "clip_norm": 0.0}, "clip_norm"),
        ({"epochs": 1, "ema_decay": 1.0}, "ema_decay"),
        ({"epochs": 1, "evaluate_every": 0}, "evaluate_every"),
        ({"epochs": 1, "noise": -0.1}, "noise -0.1 cannot work; give 0 or more"),
        ({"epochs": 1, "perturb": 1.0}, "perturb 1.0 cannot work; give at least 0 and less than 1"),
    ],
)
def test_bad_settings(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(GlowkitError, match=sentence):
        TrainConfig(**settings)  # type: ignore[arg-type]


def test_schedule() -> None:
    factors = [learning_rate_factor(step, step / 1000, 100) for step in range(1001)]
    assert factors[0] == pytest.approx(0.01)
    assert max(factors) == pytest.approx(factors[99])
    assert factors[1000] == pytest.approx(0)
    assert all(b < a for a, b in pairwise(factors[99:]))
    assert learning_rate_factor(0, 0, 0) == 1
    assert ema_decay_at(0, 0.5) == 0.1
    assert ema_decay_at(100, 0.5) == 0.5


def test_batches_are_a_function_of_the_step() -> None:
    epochs = plan_epochs(100, 16, 7)
    whole_batch = BatchShare(16)
    stream = epochs.from_step(0, whole_batch)
    whole = [next(stream) for _ in range(18)]
    for step in (0, 5, 6, 13):
        assert np.array_equal(next(epochs.from_step(step, whole_batch)), whole[step])
    for epoch in range(3):
        seen = np.concatenate(whole[6 * epoch : 6 * epoch + 6])
        assert len(set(seen)) == 96
    parts = [next(epochs.from_step(8, BatchShare(16, rank, 3))) for rank in range(3)]
    assert sorted(np.concatenate(parts)) == sorted(whole[8])
    assert not np.array_equal(permutation(9, 0, 1), permutation(9, 0, 2))


# On a machine of one core, torch finds two workers too many.
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2])
def test_loader_starts_at_any_step(workers: int) -> None:
    split = tiny_source().splits["train"]
    epochs, share = plan_epochs(100, 16, 7), BatchShare(16, 1, 2)
    loader = train_loader(split, epochs, Prepare(8, 8, 0), 4, share, workers)
    expected = epochs.from_step(4, share)
    for (images, context), rows, _ in zip(loader, expected, range(5), strict=False):
        assert torch.equal(images, split.__getitems__(rows)[0])
        assert context is None


def test_few_images_make_one_batch_and_a_rank_without_one_takes_part() -> None:
    assert plan_epochs(100, 64, 0).batch_size == 64
    epochs = plan_epochs(2, 64, 0)
    assert epochs.batch_size == 2
    shares = [BatchShare(2, rank, 3) for rank in range(3)]
    batch = next(epochs.from_step(0, BatchShare(2)))
    rows = [next(epochs.from_step(0, share)).tolist() for share in shares]
    assert rows == [[batch[0]], [batch[1]], [batch[0]]]
    assert [share.weight for share in shares] == [1.5, 1.5, 0.0]


def test_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    config = replace(CONFIG, epochs=2, optimizer="adamw", clip_norm=None)
    result = train(tiny_source(), MODEL, config, run, data={"spec": "tiny", "size": 4})
    settings = read_run(run)
    assert (settings.model, settings.training) == (MODEL, config)
    assert settings.data == {"spec": "tiny", "size": 4}
    for name in ("model/config.json", "model/model.safetensors", "metrics.csv", "tensorboard"):
        assert (run / name).exists()
    assert len(list((run / "samples").glob("*.png"))) == 2
    assert (result.step, result.epochs, result.interrupted) == (12, 2.0, False)
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert len(lines) == 2  # one an evaluation, and nothing of Lightning's
    assert lines[-1].startswith("epoch   2.0  step     12  train ≤ ")


def test_run_is_not_overwritten_or_resumed_as_another(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(GlowkitError, match="is not a run folder"):
        tiny_run(run, resume=True)
    tiny_run(run, epochs=1)
    with pytest.raises(GlowkitError, match="already holds a run; resume it with --resume"):
        tiny_run(run, epochs=1)
    with pytest.raises(GlowkitError, match="run of another model"):
        train(tiny_source(), replace(MODEL, width=8), CONFIG, run, resume=True)
    source = tiny_source()
    source.splits["train"] = ImageSplit(np.zeros((50, 1, 4, 4), np.uint8))
    with pytest.raises(GlowkitError, match="trained on 100 images, but the data now has 50"):
        train(source, MODEL, CONFIG, run, resume=True)
    (run / "checkpoints" / "last.ckpt").unlink()  # killed before the first checkpoint
    assert tiny_run(run, resume=True, epochs=1).step == 6


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: text[: text.index("training:")], "section 'training' is missing"),
        (lambda text: "", "names no format"),
        (lambda text: "a: [", "cannot be read as YAML"),
        (lambda text: text.replace("format: 1", "format: 99"), "newer glowkit"),
        (lambda text: text.replace("batch_size", "batch_sise"), "config.yaml: .*'batch_sise'"),
        (lambda text: text.replace("family: glow", "family: grow"), "config.yaml: .*'grow'"),
        (lambda text: text.replace("batch_size: 16", "batch_size: x"), "wrong type"),
    ],
)
def test_damaged_settings(tmp_path: Path, damage: object, sentence: str) -> None:
    write_settings(tmp_path, {"spec": "tiny"}, MODEL, CONFIG)
    path = tmp_path / "config.yaml"
    assert read_run(tmp_path).training == CONFIG
    text = damage(path.read_text())  # type: ignore[operator]
    path.write_text(text)
    with pytest.raises(GlowkitError, match=sentence):
        read_run(tmp_path)


def test_data_that_does_not_fit_the_model(tmp_path: Path) -> None:
    wide = replace(MODEL, image_shape=(3, 4, 4))
    with pytest.raises(GlowkitError, match=r"takes images of shape 3x4x4 .* are 1x4x4"):
        train(tiny_source(), wide, CONFIG, tmp_path / "a", quiet=True)
    conditional = replace(MODEL, classes=3)
    with pytest.raises(GlowkitError, match="have no labels"):
        train(tiny_source(), conditional, CONFIG, tmp_path / "b", quiet=True)
    with pytest.raises(GlowkitError, match=r"label 2 is out of range .* 2 classes"):
        train(tiny_source(True), replace(MODEL, classes=2), CONFIG, tmp_path / "c", quiet=True)
    assert not list(tmp_path.iterdir())  # refused before anything was written


def test_conditional_and_fewer_levels(tmp_path: Path) -> None:
    model = replace(MODEL, classes=3, classifier_weight=0.01, pixel_levels=4)
    config = replace(CONFIG, epochs=1)
    result = train(tiny_source(True), model, config, tmp_path / "run", quiet=True)
    assert 0 < result.best_figure < 4


def test_reading_settings_does_not_import_lightning() -> None:
    code = "import sys, glowkit.training; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
