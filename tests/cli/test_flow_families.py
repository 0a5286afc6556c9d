"""Residual and continuous flows, of points and of tables, through the commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import glowkit
from cli.conftest import Cli

TINY = ["--set", "width=8", "--set", "depth=1", "--epochs", "1"]
FAMILIES = {
    "residual-points": ["--set", "blocks=2"],
    "ffjord-points": ["--set", "steps=2"],
    "matching-points": ["--set", "steps=2"],
}


@pytest.mark.parametrize("preset", FAMILIES)
def test_a_table_from_training_to_samples(cli: Cli, tmp_path: Path, preset: str) -> None:
    rows = np.random.default_rng(0).normal(size=(200, 3)) * [1.0, 10.0, 100.0] + [0, 5, -300]
    np.save(tmp_path / "table.npy", rows)
    run = tmp_path / "run"
    trained = cli(
        *("train", tmp_path / "table.npy", "--preset", preset, *FAMILIES[preset], *TINY),
        *("--out", run),
    )
    assert trained.code == 0, trained.err
    figures = json.loads(cli("evaluate", run, "--json").out)
    assert np.isfinite(figures["nll_nats"])
    integrates = preset != "residual-points"
    assert ("nll_nats_at_twice_the_steps" in figures) == integrates
    read = cli("evaluate", run).out
    assert ("by integration" in read) == ("steps x 2" in read) == integrates
    sampled = cli("sample", run, "-n", 5, "--out", tmp_path / "samples.npy")
    assert sampled.code == 0, sampled.err
    assert np.isfinite(np.load(tmp_path / "samples.npy")).all()


@pytest.mark.slow
@pytest.mark.parametrize("preset", FAMILIES)
def test_points_from_training_to_figures(cli: Cli, tmp_path: Path, preset: str) -> None:
    run = tmp_path / "run"
    trained = cli(
        "train", "points:moons", "--preset", preset, *FAMILIES[preset], *TINY, "--out", run
    )
    assert trained.code == 0, trained.err
    figures = json.loads(cli("evaluate", run, "--json").out)
    assert 0 < figures["paired_kl_nats"] < 5
    assert (run / "samples" / "training.gif").exists()
    assert cli("report", run).code == 0


@pytest.mark.parametrize("config", [glowkit.ResidualConfig(blocks=1), glowkit.ContinuousConfig()])
def test_compression_is_refused(config: object) -> None:
    model = glowkit.build(config)
    with pytest.raises(glowkit.GlowkitError):
        glowkit.compress(model, torch.zeros(1, 2))
