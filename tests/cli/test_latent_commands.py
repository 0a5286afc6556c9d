"""The latent space on the command line, on a small run."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli.conftest import Cli
from glowkit.cli.gallery import _histogram
from glowkit.data import open_source


def digits(split: str = "test") -> np.ndarray:
    images, _ = open_source("digits").splits[split].__getitems__(slice(None))
    return images.numpy()


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_interpolation_ends_at_the_images(cli: Cli, run: Path, tmp_path: Path, path: str) -> None:
    out = tmp_path / "strip.png"
    outcome = cli(
        "interpolate", run, "test:3", "test:4-5", "--path", path, "--frames", 4, "--out", out,
        "--json",
    )  # fmt: skip
    figures = json.loads(outcome.out)
    assert figures["largest_pixel_error"] == 0
    assert figures["images"] == 3
    assert figures["paths"] == [str(out), str(out.with_suffix(".gif"))]
    with Image.open(out.with_suffix(".gif")) as gif:
        assert gif.n_frames > 4
    # The first tile of the strip is the image itself, each pixel 7 wide.
    with Image.open(out) as sheet:
        left = sheet.width - 8 - (4 * 58 - 2)
        tile = np.asarray(sheet.convert("L"))[8:64:7, left : left + 56 : 7]
    assert np.array_equal(tile, (2 * digits()[3, 0].astype(int) * 255 + 16) // 32)


def test_interpolation_of_samples_and_grids(cli: Cli, run: Path, tmp_path: Path) -> None:
    sheets = []
    for seed in (1, 1, 2):
        out = tmp_path / "a.png"
        assert cli("interpolate", run, "--random", 3, "--seed", seed, "--out", out).code == 0
        sheets.append(out.read_bytes())
    assert sheets[0] == sheets[1] != sheets[2]
    grid = cli("interpolate", run, "test:0-3", "--grid", "--frames", 3, "--json")
    assert json.loads(grid.out)["paths"] == [str(run / "samples" / "interpolation.png")]
    with Image.open(run / "samples" / "interpolation.png") as sheet:
        assert sheet.width == sheet.height


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_image_comes_back_from_its_latents(
    cli: Cli, run: Path, tmp_path: Path, dtype: str
) -> None:
    latents, images = tmp_path / "latents.npz", tmp_path / "images.npz"
    options = ("--dtype", dtype, "--batch-size", 70, "--json")
    encoded = json.loads(cli("encode", run, "--out", latents, *options).out)
    assert encoded["images"] == 300
    assert encoded["largest_pixel_error"] == 0
    with np.load(latents) as held:
        assert held["noises"].shape == (300, 64)
        assert held["noises"].dtype == dtype
        assert held["sizes"].sum() == 64
    assert cli("decode", run, latents, "--out", images, "--batch-size", 90).code == 0
    assert np.array_equal(np.load(images)["images"], digits())


def test_decoded_images_as_files_and_as_a_sheet(cli: Cli, run: Path, tmp_path: Path) -> None:
    latents = tmp_path / "latents.npz"
    assert cli("encode", run, "validation:0-11", "--out", latents).code == 0
    for _ in range(2):  # a sheet may be written again, a folder may not
        assert cli("decode", run, latents, "--out", tmp_path / "sheet.png").code == 0
    assert cli("decode", run, latents, "--out", tmp_path / "folder").code == 0
    again = cli("decode", run, latents, "--out", tmp_path / "folder")
    assert again.code == 2
    assert "exists already" in again.err
    assert [file.name for file in sorted((tmp_path / "folder").iterdir())] == [
        f"{number:02d}.png" for number in range(12)
    ]
    with Image.open(tmp_path / "folder" / "03.png") as image:
        shown = np.asarray(image)
    assert np.array_equal(shown, (2 * digits("validation")[3, 0].astype(int) * 255 + 16) // 32)


def test_latents_keep_the_classes(cli: Cli, conditional: Path, tmp_path: Path) -> None:
    latents, images = tmp_path / "latents.npz", tmp_path / "images.npy"
    assert cli("encode", conditional, "--out", latents).code == 0
    assert cli("decode", conditional, latents, "--out", images).code == 0
    assert np.array_equal(np.load(images), digits())
    for command in ("interpolate", "scales"):
        out = ("--out", tmp_path / "a.png")
        assert cli(command, conditional, "test:0-1", *out).code == 0
    assert cli("interpolate", conditional, "--random", 2, "--out", tmp_path / "a.png").code == 0


def test_scales_has_a_row_for_each_image(cli: Cli, run: Path, tmp_path: Path) -> None:
    sizes = []
    for names, draws in (("test:0", 1), ("test:0-2", 1), ("test:0-2", 4)):
        out = tmp_path / "scales.png"
        outcome = cli("scales", run, names, "--draws", draws, "--out", out, "--json")
        assert json.loads(outcome.out)["scales"] == 2
        with Image.open(out) as sheet:
            sizes.append(sheet.size)
    assert sizes[1][1] - sizes[0][1] == 2 * 58
    assert sizes[2][0] - sizes[1][0] == 6 * 58


def test_compare_draws_each_run_from_the_same_noise(
    cli: Cli, run: Path, conditional: Path, tmp_path: Path
) -> None:
    out = tmp_path / "comparison.png"
    outcome = cli("compare", run, run / "model", conditional, "--out", out, "--json")
    first, model, other = json.loads(outcome.out)["runs"]
    assert first["bits_per_dim"] != other["bits_per_dim"]
    assert model["bits_per_dim"] is None
    with Image.open(out) as sheet:
        rows = np.asarray(sheet)[8:-8, -8 - 10 * 58 + 2 : -8]
    assert np.array_equal(rows[:56], rows[58:114])
    assert not np.array_equal(rows[:56], rows[116:172])


def test_samples_stream_to_disk(cli: Cli, run: Path, tmp_path: Path) -> None:
    arrays = []
    for name in ("a.npy", "b.npz"):
        out = tmp_path / name
        options = ("-n", 250, "--batch-size", 100, "--seed", 5)
        assert cli("sample", run, *options, "--out", out).code == 0
        loaded = np.load(out)
        arrays.append(loaded if name == "a.npy" else loaded["images"])
    assert arrays[0].shape == (250, 1, 8, 8)
    assert arrays[0].dtype == np.uint8
    assert arrays[0].max() <= 16
    assert len(np.unique(arrays[0], axis=0)) == 250
    assert np.array_equal(*arrays)
    assert cli("sample", run, "-n", 3, "--out", tmp_path / "files").code == 0
    assert len(list((tmp_path / "files").glob("*.png"))) == 3


PICTURED = (
    "Temperatures",
    "Nearest training images",
    "Interpolation",
    "Reconstruction",
    "Most and least likely images",
)


def test_report_holds_every_picture(cli: Cli, run: Path) -> None:
    figures = json.loads(cli("report", run, "--json").out)
    evaluated = json.loads(cli("evaluate", run, "--json").out)
    assert figures["bits_per_dim"] == evaluated["bits_per_dim"]
    assert cli("report", run).code == 0
    page = (run / "report.html").read_text()
    titles = re.findall(r"<h2>(.*)</h2>", page)
    parts = dict(zip(titles, re.split(r"<h2>.*</h2>", page)[1:], strict=True))
    for title in PICTURED:
        assert "data:image/png;base64," in parts[title], title
    assert "<svg" in parts["How bits/dim are spread"]
    assert not re.search(r'https?:|href="[^#]', page)
    assert "mixture of 10 Gaussians" in page


def test_a_report_says_what_it_leaves_out(cli: Cli, run: Path) -> None:
    assert cli("report", run, "--split", "train").code == 0
    assert "not trained on" in (run / "report.html").read_text()


def test_lost_images_are_counted(cli: Cli, run: Path, tmp_path: Path) -> None:
    latents = np.zeros((3, 64), np.float32)
    latents[1] = 1e30  # finite, but its log p is not
    np.savez(tmp_path / "latents.npz", noises=latents)
    outcome = cli("decode", run, tmp_path / "latents.npz", "--out", tmp_path / "images.npy")
    assert outcome.code == 0
    assert "1 of 3 images could not be computed" in outcome.err
    outcome = cli("sample", run, "--temperature", "0,1e30", "--out", tmp_path / "samples.png")
    assert outcome.code == 0
    assert "10 of 20 images could not be computed" in outcome.err


def test_bits_that_are_no_numbers_are_counted_and_not_drawn() -> None:
    bits = torch.tensor([2.0, 3.0, torch.nan, torch.inf, 1e9], dtype=torch.float64)
    section = _histogram(bits, "test")
    assert "2 of 5 are not finite" in section.text
    assert section.bars is not None
    assert section.bars["counts"] == [2, 1]
    assert not _histogram(bits[2:4], "test").bars
