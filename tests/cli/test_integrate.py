"""`glowkit integrate`: benchmarks, functions of one's own, pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.conftest import Cli
from glowkit.cli.integrate import _asked

FEW = ("--calls", "7e3", "--set", "width=16", "--set", "bins=8")


def test_a_benchmark_beside_flat_sampling(cli: Cli) -> None:
    said = cli("integrate", "camel:2", *FEW, "--compare", "flat")
    assert said.code == 0, said.err
    for words in ("integral", "exact", "0.98166031", "effective", "unweighting", "flat"):
        assert words in said.out


def test_a_function_of_ones_own_over_a_box(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def f(x):\n    return (x[:, 0] * x[:, 1] ** 2).numpy()\n")
    line = ("integrate", f"{tmp_path}/own.py:f", "--dims", 2, "--bounds", "-1:2,0:3", *FEW)
    said = json.loads(cli(*line, "--json").out)
    assert abs(said["value"] - 1.5 * 9) < 5 * said["error"] < 2
    assert said["exact"] is None
    assert said["errors_off"] is None
    assert said["calls"] <= 7000
    assert json.loads(cli(*line, "--json").out)["value"] == said["value"]
    other = json.loads(cli(*line, "--json", "--seed", 1).out)
    assert other["value"] != said["value"]


def test_a_picture_is_sampled_and_drawn(cli: Cli, tmp_path: Path) -> None:
    pixels = np.linspace(30, 255, 24 * 16).reshape(24, 16).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    line = ("integrate", f"picture:{tmp_path}/a.png", *FEW, "--set", "blobs=8")
    said = json.loads(cli(*line, "--out", tmp_path / "sheet.png", "--json").out)
    assert said["exact"] == pytest.approx(pixels.mean() / 255)
    assert abs(said["value"] - said["exact"]) < 5 * said["error"]
    assert 0 < said["kl_nats"] < 0.2
    assert 0 < said["reverse_kl_nats"] < 0.2
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (1040, 520)


def test_the_grid_of_a_large_picture_is_coarser_than_its_pixels(tmp_path: Path) -> None:
    Image.new("L", (600, 300), 200).save(tmp_path / "a.png")
    asked = _asked(f"picture:{tmp_path}/a.png", None, None, [])
    assert asked.cells == (256, 128)
    assert asked.exact == pytest.approx(200 / 255)


def test_an_error_that_is_not_reached_and_points_that_are_few_are_told_of(cli: Cli) -> None:
    said = cli("integrate", "gauss:12", *FEW, "--relative-error", "1e-6")
    assert said.code == 0
    assert "note: the relative error is" in said.err
    assert "points carry half of the integral" in said.err


def test_vegas_beside_it(cli: Cli) -> None:
    pytest.importorskip("vegas", exc_type=ImportError)
    said = json.loads(cli("integrate", "gauss:2", *FEW, "--compare", "vegas,flat", "--json").out)
    assert set(said["compared"]) == {"vegas", "flat"}
    assert abs(said["compared"]["vegas"]["value"] - said["exact"]) < 0.05


def test_a_file_that_is_no_program_is_blamed_before_an_option(cli: Cli) -> None:
    said = cli("integrate", "t.csv:f", "--dims", 2)
    assert said.code == 2
    assert "there is no integrand 't.csv:f'" in said.err
    assert "--dims" not in said.err
    assert "--dims" in cli("integrate", "camel:4", "--dims", 2).err
