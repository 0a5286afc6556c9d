"""`glowkit anomalies`: what it writes and says, on images and on points, and what it refuses."""

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from cli.conftest import SMALL, Cli
from glowkit.cli import main
from glowkit.tasks import AnomalyDetector, AnomalyScores
from glowkit.tasks.anomalies import SCORES

FEW = ["-n", "60", "--importance", "1"]


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("points") / "run"
    few = ["--epochs", "0.1", "--set", "steps=1", "--set", "width=8", "--out", str(folder)]
    with pytest.raises(SystemExit) as stopped:
        main(["train", "points:moons", *few])
    assert not stopped.value.code
    return folder


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    path = tmp_path / "noise.npy"
    np.save(path, np.random.default_rng(0).integers(0, 17, (70, 8, 8), dtype=np.uint8))
    return path


def table(page: Path) -> list[dict[str, str]]:
    with open(page.with_suffix(".csv"), newline="") as file:
        return list(csv.DictReader(file))


def test_every_score_on_one_page(cli: Cli, run: Path, noise: Path, tmp_path: Path) -> None:
    background = tmp_path / "background"
    perturbed = ["--perturb", "0.3", "--weight-decay", "1", "--seed", "1"]
    outcome = cli("train", "digits", *SMALL, *perturbed, "--out", background)
    assert "images, perturbed at 0.3" in outcome.out
    page, line = tmp_path / "page.html", ["anomalies", run, "--against", noise, *FEW]
    more = ["--background", background, "--ensemble", f"{run},{background}", "--out", page]
    said = json.loads(cli(*line, *more, "--json").out)
    assert list(said["scores"]) == list(SCORES)
    assert said["left_out"] == {}
    assert said["scores"]["likelihood"]["auroc"] > 0.9  # after 20 steps: noise is easy
    for figures in said["scores"].values():
        low, high = figures["auroc_interval"]
        assert low <= figures["auroc"] <= high
    assert (said["images"], said["against_images"], said["images_in_against"]) == (60, 60, 70)
    assert sum(said["codecs"].values()) == 120

    rows = table(page)
    assert len(rows) == 120
    scores = [float(row["complexity"]) for row in rows]  # by which examples are ranked
    assert said["ranked_by"] == "complexity"
    assert scores == sorted(scores, reverse=True)
    first = next(row for row in rows if row["set"] == "data")
    assert said["most_anomalous"][0] == f"{first['split']}:{first['row']}"
    flagged = sum(float(r["dose_p_value"]) <= 0.05 for r in rows if r["set"] == "against")
    assert flagged == said["scores"]["dose"]["flagged_against"]

    text = page.read_text()
    assert text.count("data:image/png;base64,") == 1 + len(SCORES)
    assert "<script" not in text
    assert "Plain likelihood is known to fail" in text
    assert 'src="http' not in text
    # Once more, in other batches: the same figures.
    again = cli(*line, "--out", page, "--scores", "likelihood,dose", "--batch-size", 7, "--json")
    for name, figures in json.loads(again.out)["scores"].items():
        assert figures["auroc"] == pytest.approx(said["scores"][name]["auroc"], abs=2e-3)


def test_ranking_a_folder_names_its_files(cli: Cli, run: Path, tmp_path: Path) -> None:
    from PIL import Image

    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / f"{number}.png")
    page = tmp_path / "page.html"
    outcome = cli("anomalies", run, folder, *FEW, "--scores", "dose,latent", "--out", page)
    assert outcome.code == 0, outcome.err
    assert "scored:  12 of 12 images" in outcome.out  # all splits
    assert {row["file"] for row in table(page)} == {f"{n}.png" for n in range(12)}
    assert "dose        " in outcome.out
    assert ".png, " in outcome.out
    assert "AUROC" not in page.read_text()


def test_one_image_is_asked_about_alone(cli: Cli, run: Path, tmp_path: Path) -> None:
    from PIL import Image

    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / name)
    page = tmp_path / "page.html"
    line = ["anomalies", run, *FEW, "--scores", "latent", "--out", page]
    outcome = cli(*line, folder / "a.png", "--against", folder)
    assert outcome.code == 0, outcome.err
    assert "inside:  1 of 1 images" in outcome.out
    assert "outside: 2 of 2 images" in outcome.out
    rows = table(page)
    assert sorted(row["file"] for row in rows) == ["a.png", "a.png", "b.png"]
    assert len({row["latent"] for row in rows if row["file"] == "a.png"}) == 1
    outcome = cli(*line, folder / "a.png")
    assert "  a.png\n" in outcome.out  # and no dots, for there are no others


def test_points_have_scores_too(cli: Cli, points: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    line = ["anomalies", points, "--against", "points:8gaussians", "-n", 30, "--out", page]
    outcome = cli(*line)
    assert outcome.code == 0, outcome.err
    assert "complexity is left out: it is of images" in outcome.err
    said = json.loads(cli(*line, "--json").out)
    assert "codecs" in said
    assert said["ranked_by"] == "dose"
    assert "complexity" not in said["scores"]
    assert (said["points"], said["reference_points"]) == (30, 50)
    assert '<td class="text">inside, oddest</td>' in page.read_text()


def test_a_model_folder_takes_its_reference_by_name(
    cli: Cli, run: Path, noise: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    line = ["anomalies", run / "model", noise, *FEW, "--scores", "likelihood", "--out", page]
    outcome = cli(*line)
    assert outcome.code == 2
    assert "name their DATA with --reference" in outcome.err
    outcome = cli(*line, "--reference", "digits")
    assert outcome.code == 0, outcome.err
    assert "scored:  60 of 70 images" in outcome.out


def test_what_is_not_finite_is_said_of_both_sets(
    cli: Cli, run: Path, noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AnomalyDetector.__call__

    def broken(self: AnomalyDetector, x: Tensor, stream: int = 1) -> AnomalyScores:
        found = real(self, x, stream)
        lost = {name: 3 for name in found.values if stream == 2}
        return replace(found, not_finite=found.not_finite | lost, cost=found.cost * math.nan)

    monkeypatch.setattr(AnomalyDetector, "__call__", broken)
    page = tmp_path / "page.html"
    line = ["anomalies", run, "--against", noise, "--scores", "likelihood", *FEW, "--out", page]
    outcome = cli(*line)
    assert outcome.code == 0, outcome.err
    assert f"up to 3 of 60 images of {noise} have scores that are not finite" in outcome.err
    assert "could not be computed" in page.read_text()
    assert "typical." not in page.read_text()


BAD = {
    "ratio alone": ("--scores ratio", "ratio cannot be computed: it needs a background model"),
    "waic alone": ("--scores waic", "waic cannot be computed: it needs an ensemble of at least 2"),
    "itself alone": ("--ensemble {run}", "an ensemble takes at least 2 models"),
    "unknown": ("--scores dose,odd", "no anomaly score 'odd'; --scores takes all, or some of"),
    "other noises": ("--background {points}", "the background model has levels None"),
    "few": ("--reference {noise}", "7 reference examples are too few"),
    "no page": ("--out page.png", "give --out a name in .html, not page.png"),
    "validation": ("--split validation", "says what is usual, and cannot be scored too"),
    "classes": ("--background {conditional}", "train one without --conditional"),
    "no data": ("--against nowhere", "no such file or folder: nowhere"),
    "another shape": ("--against {files}/side.npy", "of shape 1x8x8"),
    "another kind": ("--against points:moons", "points"),
    "no split": ("--split none", "there is no split 'none'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(
    cli: Cli, run: Path, conditional: Path, points: Path, files: Path, noise: Path, case: str
) -> None:
    line, words = BAD[case]
    places = {"run": run, "conditional": conditional, "points": points, "files": files}
    places["noise"] = noise
    outcome = cli("anomalies", run, *line.format(**places).split())
    assert outcome.code == 2
    sentence = outcome.err.splitlines()[-1]  # after notes about the data, if any
    assert sentence.startswith("glowkit: ")
    assert words in sentence


def test_a_background_of_whole_images_is_said(cli: Cli, run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    outcome = cli(
        "anomalies", run, "--background", other, "--scores", "ratio", *FEW, "--out",
        tmp_path / "page.html",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "was not trained with --perturb" in outcome.err
