"""Densities with a symmetry, from the example and from a setting, trained on the command line."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from cli.conftest import Cli
from glowkit.models import families

EXAMPLE = Path(__file__).parents[2] / "examples" / "surjections.py"
SMALL = ("--set", "steps=1", "--set", "width=8", "--epochs", 0.1, "--device", "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("settings", [("--set", "preprocessing=absolute"), ("--model",)])
def test_symmetric_points_are_trained_and_drawn(
    cli: Cli, tmp_path: Path, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    own = settings == ("--model",)
    given = ("--model", f"{EXAMPLE}:FoldedConfig") if own else settings
    run = tmp_path / "run"
    trained = cli("train", "points:checkerboard", *given, *SMALL, "--out", run, "--json")
    assert trained.code == 0, trained.err
    figures = json.loads(trained.out)
    assert figures["largest_error"] < 1e-3
    again = ("--model", EXAMPLE) if own else ()
    drawn = cli("sample", run, *again, "--count", 50, "--out", tmp_path / "p.npy", "--json")
    assert drawn.code == 0, drawn.err
    assert np.load(tmp_path / "p.npy").shape == (50, 2)
    if own:
        assert families.named("folded").file == str(EXAMPLE)


def test_a_set_of_numbers_is_trained_from_a_table(cli: Cli, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    np.save(tmp_path / "sets.npy", rows)
    trained = cli(
        "train",
        tmp_path / "sets.npy",
        "--model",
        f"{EXAMPLE}:SetConfig",
        *SMALL,
        "--batch-size",
        64,
        "--out",
        tmp_path / "run",
        "--json",
    )
    assert trained.code == 0, trained.err
    assert json.loads(trained.out)["largest_error"] < 1e-3
