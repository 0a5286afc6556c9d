"""Every family trains, evaluates, resumes and samples through the commands."""

import json
from pathlib import Path

import pytest

from cli.conftest import Cli

SMALL = {
    "flowpp-tiny": ["width=8", "couplings=[[0, 1], [1, 0]]"],
    "nice-tiny": ["width=16", "depth=1"],
    "realnvp-tiny": ["width=4", "blocks=0"],
}


@pytest.mark.parametrize("preset", SMALL)
def test_from_training_to_samples(cli: Cli, tmp_path: Path, preset: str) -> None:
    run = tmp_path / "run"
    settings = [word for setting in SMALL[preset] for word in ("--set", setting)]
    trained = cli("train", "digits", "--preset", preset, *settings, "--epochs", 1, "--out", run)
    assert trained.code == 0, trained.err
    assert cli("train", "--resume", "--out", run, "--epochs", 2).code == 0
    figures = json.loads(cli("evaluate", run, "--json").out)
    assert figures["largest_pixel_error"] == 0
    assert 0 < figures["bits_per_dim"] < 6
    assert cli("sample", run).code == 0
    path = json.loads(cli("interpolate", run, "test:0-1", "--json").out)
    assert path["largest_pixel_error"] == 0
    assert cli("scales", run).code == 0


@pytest.mark.parametrize("preset", SMALL)
def test_classes_are_refused_where_nothing_takes_them(
    cli: Cli, tmp_path: Path, preset: str
) -> None:
    outcome = cli("train", "digits", "--preset", preset, "--conditional", "--out", tmp_path / "run")
    assert outcome.code == 2
    assert "not conditional" in outcome.err
