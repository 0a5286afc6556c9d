"""The trained models that come with the repository do what the README says of them."""

import json
import shutil
from pathlib import Path

import pytest

from cli.conftest import Cli
from glowkit.core import GlowkitError
from glowkit.data import open_source

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["digits", "emoji"])
def test_samples_need_nothing_but_the_model(cli: Cli, tmp_path: Path, name: str) -> None:
    outcome = cli("sample", EXAMPLES / name, "-n", "2", "--out", tmp_path / "samples.png")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "samples.png").stat().st_size > 500


def test_every_test_digit_comes_back(cli: Cli, tmp_path: Path) -> None:
    run = shutil.copytree(EXAMPLES / "digits", tmp_path / "digits")  # it gets a report
    outcome = cli("evaluate", run, "--json")
    said = json.loads(outcome.out)
    assert said["largest_pixel_error"] == 0
    assert said["images"] == 300
    assert said["bits_per_dim"] < 2.4


def test_an_edit_of_a_digit_says_how_likely_it_is(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "edited.png"
    outcome = cli(
        "edit", EXAMPLES / "digits", "test:0-3", "--attribute", "3=0.6", "--out", out, "--json"
    )
    assert outcome.code == 0, outcome.err
    assert out.stat().st_size > 500


def test_emoji_come_back(cli: Cli, tmp_path: Path) -> None:
    try:
        open_source("emoji", size=32)
    except GlowkitError as error:
        pytest.skip(str(error))
    outcome = cli(
        "reconstruct", EXAMPLES / "emoji", "test:0-15", "--out", tmp_path / "emoji.png", "--json"
    )
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["largest_pixel_error"] == 0
