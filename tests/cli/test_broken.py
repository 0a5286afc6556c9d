"""Images that overflow: counted by their pixels, said by every command, hatched when drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli.conftest import Cli
from glowkit import load, save
from glowkit.pictures.sheet import HATCH_INK

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
SAID = "could not be computed (overflow)"


def hatched(file: Path) -> bool:
    """Whether a picture has hatching, in any of its frames."""
    with Image.open(file) as picture:
        for frame in range(getattr(picture, "n_frames", 1)):
            picture.seek(frame)
            pixels = np.asarray(picture.convert("RGB")).astype(int).reshape(-1, 3)
            if (np.abs(pixels - HATCH_INK).sum(1) < 30).any():
                return True
    return False


@pytest.fixture
def overflowing(run: Path) -> Path:
    """A run whose likelihoods are finite, and whose decode(encode(x)) is not, for any image."""
    model = load(run / "model")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("actnorm.logs"):
                parameter[0] = -120  # exp(-120) is 0 in float32, and exp(120) infinite
    save(model, run / "model")
    return run


def test_samples_are_counted_by_their_pixels(cli: Cli, tmp_path: Path) -> None:
    """At this temperature, some broken digits have a finite log p of their own."""
    model = load(DIGITS / "model")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        v, _ = model.density.decode(model.draw_noises(200, 2.0, generator))
    broken = (~v.isfinite()).flatten(1).any(1)
    assert 0 < broken.sum() < 200
    common = ("sample", DIGITS, "-n", 200, "--temperature", 2, "--seed", 3, "--batch-size", 200)

    sheet = cli(*common, "--out", tmp_path / "sheet.png", "--json")
    said = json.loads(sheet.out)
    assert said["broken_images"] == broken.sum()
    assert said["levels"] == 17
    assert f"{broken.sum()} of 200 images {SAID}" in sheet.err
    assert "lower the temperature" in sheet.err
    assert hatched(tmp_path / "sheet.png")

    array = cli(*common, "--out", tmp_path / "samples.npz", "--json")
    said = json.loads(array.out)
    assert said["broken_images"] == broken.sum()
    assert said["broken_indices"] == broken.nonzero().flatten().tolist()
    assert f"{broken.sum()} of 200 images {SAID}" in array.err
    with np.load(tmp_path / "samples.npz") as file:
        assert file["broken"].dtype == bool
        assert np.array_equal(file["broken"], broken)
        assert not file["images"][~v.isfinite().numpy()].any()

    plain = cli(*common, "--out", tmp_path / "samples.npy")
    assert f"are 0 in the array: {', '.join(map(str, said['broken_indices'][:3]))}" in plain.err

    files = cli(*common, "--out", tmp_path / "files", "--json")
    assert json.loads(files.out)["broken_indices"] == said["broken_indices"]
    marked = [hatched(file) for file in sorted((tmp_path / "files").glob("*.png"))]
    assert marked == broken.tolist()


def test_nothing_is_said_where_all_is_well(cli: Cli, run: Path, tmp_path: Path) -> None:
    for out in ("sheet.png", "array.npz"):
        outcome = cli("sample", run, "--temperature", 0.7, "--out", tmp_path / out, "--json")
        assert json.loads(outcome.out)["broken_images"] == 0
        assert "note" not in outcome.err
    assert not hatched(tmp_path / "sheet.png")
    with np.load(tmp_path / "array.npz") as file:
        assert not file["broken"].any()


@pytest.mark.parametrize(
    ("arguments", "number", "pictures"),
    [
        (("compare", "RUN", "RUN", "--temperature", "1e30"), 20, ["out.png"]),
        (("scales", "RUN", "test:0-1", "--draws", "1", "--temperature", "1e30"), None, ["out.png"]),
        (
            ("interpolate", "RUN", "--random", "2", "--temperature", "1e30", "--frames", "4"),
            4,
            ["out.png", "out.gif"],
        ),
        (
            ("interpolate", "RUN", "--random", "4", "--grid", "--temperature", "1e30"),
            81,
            ["out.png"],
        ),
        (("edit", "RUN", "test:0-2", "--attribute", "3=1e30"), 3, ["out.png"]),
        (("edit", "RUN", "test:0", "--sweep", "3=1e30", "--frames", "3"), 2, ["out.png"]),
    ],
    ids=["compare", "scales", "interpolate", "grid", "edit", "sweep"],
)
def test_every_command_that_draws_says_so_and_hatches(
    cli: Cli,
    run: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    number: int | None,
    pictures: list[str],
) -> None:
    assert cli("attributes", run).code == 0
    given = [run if word == "RUN" else word for word in arguments]
    outcome = cli(*given, "--out", tmp_path / "out.png", "--json")
    assert outcome.code == 0, outcome.err
    said = json.loads(outcome.out)["broken_images"]
    assert said == number if number is not None else said > 0
    assert f"{said} of " in outcome.err
    assert SAID in outcome.err
    assert all(hatched(tmp_path / name) for name in pictures)


def test_an_edit_that_overflows_has_no_bits_per_dim(cli: Cli, run: Path, tmp_path: Path) -> None:
    assert cli("attributes", run).code == 0
    command = ("edit", run, "test:0", "--attribute", "3=1e30", "--out", tmp_path / "out.png")
    (row,) = json.loads(cli(*command, "--json").out)["edits"]
    assert row["bits_per_dim"][0] > 0
    assert row["bits_per_dim"][1] is None
    assert "after broken" in cli(*command).out


def test_latents_that_overflow_are_counted(cli: Cli, run: Path, tmp_path: Path) -> None:
    latents = np.zeros((3, 64), np.float32)
    latents[1] = 1e30
    np.savez(tmp_path / "latents.npz", noises=latents)
    for name, indices in (("a.npz", [1]), ("b.npy", [1]), ("files", [1]), ("sheet.png", None)):
        outcome = cli("decode", run, tmp_path / "latents.npz", "--out", tmp_path / name, "--json")
        said = json.loads(outcome.out)
        assert said["broken_images"] == 1
        assert said.get("broken_indices") == indices
        assert f"1 of 3 images {SAID}: change the latents less" in outcome.err
    assert [hatched(tmp_path / "files" / f"{i}.png") for i in range(3)] == [False, True, False]
    assert hatched(tmp_path / "sheet.png")


def test_reconstructions_that_overflow_have_no_error_of_0(
    cli: Cli, overflowing: Path, tmp_path: Path
) -> None:
    command = ("reconstruct", overflowing, "--out", tmp_path / "out.png")
    outcome = cli(*command, "--json")
    said = json.loads(outcome.out)
    assert said["broken_images"] == said["images"] == 10
    assert said["largest_pixel_error"] is None
    assert f"10 of 10 images {SAID}" in outcome.err
    assert hatched(tmp_path / "out.png")
    assert "largest pixel error not known" in cli(*command).out


def test_an_evaluation_counts_what_does_not_come_back(cli: Cli, overflowing: Path) -> None:
    outcome = cli("evaluate", overflowing, "--json")
    said = json.loads(outcome.out)
    assert said["broken_images"] == said["images"] > 100
    assert said["largest_pixel_error"] is None
    assert SAID in outcome.err
    assert "broken images" in cli("evaluate", overflowing).out


def test_encoding_counts_what_does_not_come_back(
    cli: Cli, overflowing: Path, tmp_path: Path
) -> None:
    command = ("encode", overflowing, "test:0-4", "--out", tmp_path / "latents.npz")
    outcome = cli(*command, "--json")
    said = json.loads(outcome.out)
    assert said["broken_images"] == 5
    assert said["largest_pixel_error"] is None
    assert f"5 of 5 images {SAID}: use --dtype float64" in outcome.err


def test_a_full_report_counts_and_hatches(cli: Cli, overflowing: Path) -> None:
    outcome = cli("report", overflowing, "--json")
    assert outcome.code == 0, outcome.err
    broken = json.loads(outcome.out)["broken_pictures"]
    assert f"{broken} images of the report's pictures" in outcome.err
    assert broken > 10
    page = (overflowing / "report.html").read_text()
    assert page.count(SAID) >= 3  # temperatures, interpolation, reconstruction
    assert "not known" in page
