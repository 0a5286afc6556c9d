"""`glowkit compress` and `decompress`: images go to a file and come back, and errors say why."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import glowkit
from cli.conftest import Cli
from glowkit.data import open_source

ROOT = Path(__file__).parents[2]


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """The shipped run; figures of it are known."""
    return shutil.copytree(ROOT / "examples" / "digits", tmp_path / "digits")


def pixels(split: str, count: int) -> np.ndarray:
    rows = open_source("digits").splits[split].__getitems__(list(range(count)))[0]
    return np.asarray(rows)


def test_a_split_comes_back_as_an_array(cli: Cli, digits: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "d.glwk", tmp_path / "d.npz"
    said = json.loads(cli("compress", digits, "--out", file, "--no-verify", "--json").out)
    assert said["images"] == 300
    assert said["bytes"] == file.stat().st_size
    assert said["bits_per_dim"] == 8 * said["bytes"] / (300 * 64) < 2.36
    assert abs(said["bound_bits_per_dim"] - 2.27) < 0.01
    assert said["fallbacks"] == 0
    assert said["codecs"]["PNG"]["sheet"] < said["codecs"]["PNG"]["files"]
    assert said["bits_per_dim"] < said["codecs"]["WebP"]["sheet"]
    assert cli("decompress", digits, file, "--out", out).code == 0
    assert np.array_equal(np.load(out)["images"], pixels("test", 300))


def test_files_and_sheets(cli: Cli, digits: Path, tmp_path: Path) -> None:
    file = tmp_path / "d.glwk"
    outcome = cli("compress", digits, "test:0-7", "--bits", 4, "--out", file)
    assert "8 image(s)" in outcome.out
    assert "the model's bound" in outcome.out
    assert "on one sheet" in outcome.out
    assert cli("decompress", digits, file, "--out", tmp_path / "folder").code == 0
    assert len(list((tmp_path / "folder").glob("*.png"))) == 8
    outcome = cli("decompress", digits, file, "--out", tmp_path / "sheet.png", "--json")
    assert json.loads(outcome.out)["images"] == 8


def test_few_images_are_coded_without_the_model_and_said_so(
    cli: Cli, digits: Path, tmp_path: Path
) -> None:
    outcome = cli("compress", digits, "test:0", "test:5", "--out", tmp_path / "d.glwk")
    assert outcome.code == 0
    assert "note: 2 image(s) are coded without the model" in outcome.err


def test_classes_come_back(cli: Cli, conditional: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "c.glwk", tmp_path / "c.npz"
    assert cli("compress", conditional, "test:0-19", "--out", file).code == 0
    assert cli("decompress", conditional, file, "--out", out).code == 0
    labels = open_source("digits").splits["test"].__getitems__(list(range(20)))[1]
    with np.load(out) as found:
        assert np.array_equal(found["images"], pixels("test", 20))
        assert np.array_equal(found["labels"], np.asarray(labels))


# The line, and words of its sentence.
BAD = {
    "compress {points} --out {out}/n.glwk": "model of points",
    "compress {run} test:0 --out {file}": "exists already; give another name with --out",
    "compress {run} test:0 --bits 1 --out {out}/n.glwk": "2 to 16 bits",
    "compress {run} test:0 --split train --out {out}/n.glwk": "leave out --split",
    "compress {run} --split none --out {out}/n.glwk": "there is no split 'none'",
    "compress {run} --class 1 --out {out}/n.glwk": "leave it out",
    "decompress {run} {out}/nowhere.glwk": "no such file",
    "decompress {run} {run}/config.yaml": "no file of glowkit compress",
    "decompress {conditional} {file}": "with another model",
    "decompress {run} {short}": "this compressed file is damaged",
    "decompress {run} {file} --out {out}/x.jpg": "images are not written as .jpg",
    "decompress {run} {file} --out {run}": "exists already",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input(cli: Cli, master: Path, conditional: Path, tmp_path: Path, line: str) -> None:
    points = tmp_path / "points"
    glowkit.save(glowkit.build(glowkit.PointsConfig()), points)
    file, short = tmp_path / "a.glwk", tmp_path / "short.glwk"
    cli("compress", master, "test:0", "--out", file)
    short.write_bytes(file.read_bytes()[:-9])
    places = {"run": master, "conditional": conditional, "points": points, "out": tmp_path}
    outcome = cli(*line.format(**places, file=file, short=short).split())
    assert outcome.code == 2
    assert BAD[line] in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "n.glwk").exists()
