"""A short budget evaluates a part of a split, and says so; `evaluate` takes the whole."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Cli
from glowkit.training import allowance
from glowkit.training.parts import read_parts

SHORT = ["--set", "steps=1", "--set", "width=8", "--minutes", "0.001"]


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for one batch of each evaluation, whatever the machine."""
    monkeypatch.setattr(allowance, "PART", 0.0)
    monkeypatch.setattr(allowance, "LEAST_SECONDS", 0.0)


def train(cli: Cli, run: Path, *options: str) -> dict[str, Any]:
    outcome = cli("train", "digits", *SHORT, "--out", run, "--json", *options)
    assert outcome.code == 0, outcome.err
    said = json.loads(outcome.out)
    assert isinstance(said, dict)
    return said


def text_of(page: Path) -> str:
    return re.sub(r"\s+", " ", page.read_text())


def test_figures_say_what_they_are_of(cli: Cli, no_time: None, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = train(cli, run)
    whole = said["validation_images_in_split"]
    assert (said["images"], said["images_in_split"]) == (64, 300)
    assert said["round_trip_images"] == 16
    assert said["validation_images"] == 64 < whole
    page = text_of(run / "report.html")
    assert "64 of 300 images of 17 levels" in page
    assert "<td>64 of 300</td>" in page
    assert "largest pixel error of decode(encode(x)) of 16 images" in page
    assert f"validation is on 64 of {whole} images" in page


def test_the_terminal_says_it_too(cli: Cli, no_time: None, tmp_path: Path) -> None:
    outcome = cli("train", "digits", *SHORT, "--out", tmp_path / "run")
    assert re.search(r"validation bits/dim +≤ \d\.\d+ \(best, kept\), of 64 of 2\d\d", outcome.out)
    assert re.search(r"images +64 of 300\n", outcome.out)
    assert "decode(encode(x)) of 16 images" in outcome.out
    noted = re.sub(r"\s+", " ", outcome.err)
    assert re.search(r"validation figures are of 64 of 2\d\d images, .* --whole-evaluations", noted)


def test_evaluate_is_whole(cli: Cli, no_time: None, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(cli, run)
    said = json.loads(cli("evaluate", run, "--json").out)
    assert said["images"] == said["images_in_split"] == said["round_trip_images"] == 300
    page = text_of(run / "report.html")
    assert "<td>300</td>" in page
    assert "64 of 300" not in page
    assert "validation is on 64 of" in page  # as long as training does not go on
    assert not read_parts(run)[1]


def test_whole_evaluations_on_request(cli: Cli, no_time: None, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = train(cli, run, "--whole-evaluations")
    assert said["images"] == said["images_in_split"] == said["round_trip_images"] == 300
    assert said["validation_images"] == said["validation_images_in_split"]
    assert "validation is on" not in text_of(run / "report.html")
    assert "whole_evaluations: true" in (run / "config.yaml").read_text()


def test_points_say_it(cli: Cli, no_time: None, tmp_path: Path) -> None:
    run = tmp_path / "run"
    few = ["--set", "steps=1", "--set", "width=8", "--minutes", "0.001", "--out", run, "--json"]
    said = json.loads(cli("train", "points:moons", *few).out)
    assert said["points"] == 4096 < said["points_in_split"]
    assert said["validation_points"] == 512 < said["validation_points_in_split"]
    assert f"4,096 of {said['points_in_split']:,} points" in text_of(run / "report.html")
    whole = json.loads(cli("evaluate", run, "--json").out)
    assert whole["points"] == whole["points_in_split"]
