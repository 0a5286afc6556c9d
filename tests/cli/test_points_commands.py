"""Points through the commands: figures in nats, pictures, refusals."""

import csv
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.conftest import Cli
from glowkit.pictures.sheet import save_png
from glowkit.training import RunFolder
from glowkit.training.objective import POINTS

SMALL = ["--set", "steps=2", "--set", "width=8", "--epochs", "2"]


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from glowkit.cli import main

    out = tmp_path_factory.mktemp("runs") / "points"
    with pytest.raises(SystemExit) as stopped:
        main(["train", "points:8gaussians", *SMALL, "--out", str(out)])
    assert not stopped.value.code
    return out


def test_the_figures_add_up(cli: Cli, points: Path) -> None:
    figures = json.loads(cli("evaluate", points, "--json").out)
    assert figures["points"] == 65536
    assert figures["split"] == "test"
    assert figures["kl_nats"] == figures["nll_nats"] - figures["entropy_nats"]
    assert 0 < figures["standard_error"] < 0.01
    assert 0 < figures["paired_standard_error"] < figures["standard_error"]
    difference = abs(figures["kl_nats"] - figures["paired_kl_nats"])
    assert difference < 4 * figures["standard_error"]
    assert 0 < figures["kl_nats"] < 1
    assert figures["largest_error"] < 1e-3


def test_a_report_begins_with_the_estimate_of_the_smaller_error(points: Path) -> None:
    parts = [json.loads(file.read_text()) for file in (points / "report").glob("figures*.json")]
    (figures,) = (part["content"] for part in parts if part["about"]["split"] == "test")
    begins = f"{figures['paired_kl_nats']:.3f} ± {figures['paired_standard_error']:.3f} nats"
    assert f"KL = {begins} from the true density" in (points / "report.html").read_text()


def test_a_person_reads_nats(cli: Cli, points: Path) -> None:
    outcome = cli("evaluate", points, "--split", "validation")
    assert "KL" in outcome.out
    assert "nats" in outcome.out
    assert "8192" in outcome.out
    assert "bits" not in outcome.out


def test_the_run_folder(points: Path) -> None:
    with Image.open(points / "samples" / "training.gif") as animation:
        assert animation.n_frames == len(list(points.glob("samples/step-*.png"))) == 2
    with (points / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert "validation_nll_nats" in rows[0]
    assert float(rows[-1]["points_per_second"]) > 0
    assert not [name for name in rows[0] if "bits" in name or "images" in name]
    report = (points / "report.html").read_text()
    assert "data:image/gif;base64," in report
    assert "entropy of the true density" in report
    assert "bits/dim" not in report.lower()


def test_samples_are_drawn_or_written(cli: Cli, points: Path, tmp_path: Path) -> None:
    sizes = []
    for temperatures in ("1", "0,1"):
        out = tmp_path / f"{len(sizes)}.png"
        assert cli("sample", points, "--out", out, "--temperature", temperatures).code == 0
        with Image.open(out) as picture:
            sizes.append(picture.size)
    assert sizes[1][0] > sizes[0][0]
    arrays = []
    for seed in (1, 1, 2):
        assert cli("sample", points, "--out", tmp_path / "a.npy", "-n", 7, "--seed", seed).code == 0
        arrays.append(np.load(tmp_path / "a.npy"))
    assert arrays[0].shape == (7, 2)
    assert (arrays[0] == arrays[1]).all()
    assert (arrays[0] != arrays[2]).any()


def test_lost_points_are_counted(cli: Cli, points: Path, tmp_path: Path) -> None:
    outcome = cli("sample", points, "--temperature", "3e38", "--out", tmp_path / "a.png", "-n", 99)
    assert outcome.code == 0
    assert "points are not finite" in outcome.err


def test_a_run_goes_on_and_draws_again(cli: Cli, points: Path) -> None:
    assert cli("train", "--resume", "--out", points, "--epochs", 3).code == 0
    with Image.open(points / "samples" / "training.gif") as animation:
        assert animation.n_frames == 3


def test_data_says_the_entropy(cli: Cli) -> None:
    assert "pinwheel" in cli("data").out
    figures = json.loads(cli("data", "points:checkerboard", "--json").out)
    assert figures["entropy_nats"] == pytest.approx(np.log(32))


BAD = {
    "unknown points": ("train points:9gaussians", "8gaussians, checkerboard"),
    "images and a model of points": ("train digits --preset glow-points --epochs 1", "images"),
    "points and a model of images": ("train points:moons --preset glow-tiny", "-points"),
    "classes": ("train points:moons --conditional", "--conditional"),
    "precision": ("train points:moons --precision bfloat16", "leave out --precision"),
    "size": ("train points:moons --size 8", "--size"),
    "a setting of images": ("train points:moons --set levels=2", "levels"),
    "importance": ("evaluate {run} --importance 2", "--importance"),
    "baselines": ("evaluate {run} --baselines", "--baselines"),
    "other data": ("evaluate {run} digits", "takes points"),
    "reconstruct": ("reconstruct {run}", "glowkit evaluate"),
    "class": ("sample {run} --class 1", "no classes"),
    "classify": ("evaluate {run} --classify", "no classes"),
    "interpolate": ("interpolate {run} test:0 test:1", "model of points"),
    "full report": ("report {run}", "model of points"),
    "kind of file": ("sample {run} --out a.txt", ".npy"),
    "array of two temperatures": ("sample {run} --out a.npy --temperature 0,1", "one temperature"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(
    cli: Cli, points: Path, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command, words = BAD[case]
    outcome = cli(*[part.format(run=points) for part in command.split()])
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_filaments_example(
    points: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "filaments.py"))
    example["main"](str(tmp_path / "filaments.png"), str(points), str(points))
    data, first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert float(data.split()[1]) < 0.1 < float(first.split()[1])  # per cent that strayed
    assert float(data.split()[6]) < 1 < float(first.split()[6])  # and on bridges
    with Image.open(tmp_path / "filaments.png") as picture:
        assert picture.width == 2 * picture.height


def test_many_frames_are_thinned_and_the_last_one_stays(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in range(130):
        save_png(Image.new("RGB", (4, 4), (step, 0, 0)), folder.samples(step))
    POINTS.finish(folder)
    with Image.open(folder.animation) as animation:
        assert 40 <= animation.n_frames <= 60
        animation.seek(animation.n_frames - 1)
        assert abs(animation.convert("RGB").getpixel((0, 0))[0] - 129) <= 2
