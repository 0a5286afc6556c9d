"""Any image file for a model of few levels: taken by one rule, and what is lost is said."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli.conftest import Cli

LOSS = "pixels of 256 levels are moved to the nearest of 17"


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLOWKIT_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(4):
        pixels = generator.integers(0, 256, (20, 30, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "reconstruct {run} {photos}/0.png",
        "interpolate {run} {photos}/0.png {photos}/1.png",
        "scales {run} {photos}/0.png",
        "encode {run} {photos}/0.png {photos}/1.png --out {out}.npz",
        "reconstruct {run} {photos}",
        "encode {run} {photos} --out {out}.npz",
        "evaluate {run} {photos}",
    ],
)
def test_image_files_for_digits(cli: Cli, run: Path, photos: Path, command: str) -> None:
    places = {"run": run, "photos": photos, "out": photos.parent / "out"}
    outcome = cli(*(part.format(**places) for part in command.split()))
    assert outcome.code == 0, outcome.err
    assert LOSS in outcome.err
    assert "transparency composited on white" in outcome.err


def test_a_folder_and_its_files_give_the_same_latents(cli: Cli, run: Path, photos: Path) -> None:
    one, all_of_it = photos.parent / "one.npz", photos.parent / "all.npz"
    assert cli("encode", run, photos, "--out", all_of_it).code == 0
    files = sorted(photos.iterdir())
    assert cli("encode", run, *files, "--out", one).code == 0
    (test,) = np.load(all_of_it)["noises"]
    assert any(np.allclose(test, row, atol=1e-3) for row in np.load(one)["noises"])


def test_a_16_bit_file_is_not_clipped(cli: Cli, run: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 10000, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((8, 8), 39, np.uint8)).save(tmp_path / "same.png")
    for name in ("deep", "same"):
        out = tmp_path / f"{name}.npz"
        assert cli("encode", run, tmp_path / f"{name}.png", "--out", out).code == 0
    deep, same = (np.load(tmp_path / f"{name}.npz")["noises"] for name in ("deep", "same"))
    assert np.array_equal(deep, same)


def test_a_float_file_is_refused_as_in_a_folder(cli: Cli, run: Path, photos: Path) -> None:
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(photos / "half.tiff")
    for name in (photos / "half.tiff", photos):
        outcome = cli("reconstruct", run, name)
        assert outcome.code == 2
        assert "half.tiff cannot be read" in outcome.err
        assert "floating-point pixels: save as 16-bit PNG or as .npy" in outcome.err


def test_an_error_of_rounding_is_explained(
    cli: Cli, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from glowkit.tasks import evaluation as module

    right = module.reconstruction

    def coarse(model, images, context=None):
        again, broken = right(model, images, context)
        return (again - 3 if model.anchor.dtype == torch.float32 else again), broken

    monkeypatch.setattr(module, "reconstruction", coarse)
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "a.png")
    outcome = cli("reconstruct", run, tmp_path / "a.png")
    assert "largest pixel error 3 of 16" in outcome.out
    assert "In float64 it is 0" in outcome.out
    assert "bits/dim" in outcome.out


def test_zeros_and_ones_train_as_they_are(cli: Cli, tmp_path: Path) -> None:
    coins = np.random.default_rng(0).integers(0, 2, (100, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "coins.npy", coins)
    small = ["--set", "steps=1", "--set", "width=8", "--epochs", "1", "--json"]
    found = []
    for settings, name in (([], "a"), (["--set", "pixel_levels=2"], "b")):
        outcome = cli("train", tmp_path / "coins.npy", *settings, *small, "--out", tmp_path / name)
        assert "values 0 to 1 are read as 2 levels" in outcome.err
        found.append(json.loads(outcome.out))
    assert found[0]["levels"] == found[1]["levels"] == 2
    assert found[0]["bits_per_dim"] == found[1]["bits_per_dim"] > 1


@pytest.mark.parametrize("name", ["x" * 300, "~nobody-of-this-name/a.png"])
def test_a_name_that_cannot_be_is_a_sentence(cli: Cli, run: Path, name: str) -> None:
    for command in (
        ["reconstruct", run, name],
        ["interpolate", run, name, name],
        ["data", name],
        ["train", name, "--out", run.parent / "new"],
    ):
        outcome = cli(*command)
        assert outcome.code == 2
        assert "no such" in outcome.err


def test_three_images_are_enough_to_train(cli: Cli, photos: Path, tmp_path: Path) -> None:
    (photos / "3.png").unlink()
    small = ["--size", "8", "--set", "steps=1", "--set", "width=8", "--epochs", "1"]
    outcome = cli("train", photos, *small, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err


def test_samples_in_an_archive_say_their_levels(cli: Cli, run: Path, tmp_path: Path) -> None:
    archive = tmp_path / "samples.npz"
    assert cli("sample", run, "-n", 20, "--temperature", 0.1, "--out", archive).code == 0
    outcome = cli("data", f"{archive}:images", "--json")
    assert json.loads(outcome.out)["pixel_levels"] == 17
    assert cli("evaluate", run, f"{archive}:images").code == 0
