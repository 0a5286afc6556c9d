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


@pytest.mark.slow
def test_an_autoregressive_model_says_what_is_exact_and_what_its_noise_is_not(
    cli: Cli, tmp_path: Path
) -> None:
    run, latents = tmp_path / "run", tmp_path / "latents.npz"
    small = ["--set", "width=16", "--set", "layers=1", "--set", "inner=4", "--conditional"]
    options = ["--optimizer", "muon", "--beta2", 0.95, "--epochs", 1, "--out", run]
    trained = cli("train", "digits", "--preset", "ar-tiny", *small, *options)
    assert trained.code == 0, trained.err
    assert "= " in trained.out
    figures = json.loads(cli("evaluate", run, "--classify", "--json").out)
    assert figures["kind"] == "exact"
    assert figures["largest_pixel_error"] == 0
    assert cli("sample", run, "--count", 2).code == 0
    assert cli("encode", run, "test:0-3", "--out", latents).code == 0
    assert cli("decode", run, latents).code == 0
    refused = [
        cli("interpolate", run, "test:0-1"),
        cli("scales", run),
        cli("edit", run, "test:0", "--attribute", "3=1"),
    ]
    for outcome in refused:
        assert outcome.code == 2
        assert "not a semantic latent" in outcome.err
    outcome = cli("compress", run, "test:0-3")
    assert outcome.code == 2
    assert "no exact form in whole numbers" in outcome.err


@pytest.mark.parametrize("preset", SMALL)
def test_classes_are_refused_where_nothing_takes_them(
    cli: Cli, tmp_path: Path, preset: str
) -> None:
    outcome = cli("train", "digits", "--preset", preset, "--conditional", "--out", tmp_path / "run")
    assert outcome.code == 2
    assert "not conditional" in outcome.err
