"""`glowkit lossy`: a run is trained on, images go to a file and come back, and curves are drawn."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.conftest import Cli
from glowkit.training import read_run

FEW = ["--epochs", "0.2", "--batch-size", "64"]


@pytest.fixture(scope="module")
def tuned(master: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from glowkit.cli import main

    out = tmp_path_factory.mktemp("lossy") / "run"
    with pytest.raises(SystemExit) as stopped:
        main(["lossy", "train", str(master), *FEW, "--out", str(out), "--quiet"])
    assert not stopped.value.code
    return out


def test_a_run_is_trained_on_and_says_so(cli: Cli, tuned: Path) -> None:
    settings = read_run(tuned).lossy
    assert settings is not None
    assert (settings.finest, settings.coarsest) == (0.25, 17 / 8)
    assert cli("evaluate", tuned).code == 0  # writes the report too, with the loss of training
    assert "trained for coding with loss" in (tuned / "report.html").read_text()
    assert cli("train", "--resume", "--out", tuned).err.endswith("lossy train --resume\n")


@pytest.mark.slow
def test_it_goes_on(cli: Cli, tuned: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tuned, tmp_path / "run")
    said = cli("lossy", "train", "--resume", "--epochs", "0.4", "--out", run, "--json")
    figures = json.loads(said.out)
    assert figures["step"] == 8
    assert [point["step"] for point in figures["points"]][::2] == [0.25, 17 / 8]
    assert read_run(run).lossy == read_run(tuned).lossy


@pytest.mark.slow
def test_a_run_for_coding_is_trained_on_with_its_own_unit(
    cli: Cli, tuned: Path, tmp_path: Path
) -> None:
    words = ["--round-trip", "2", "--coarsest", "1", *FEW, "--out", tmp_path / "run", "--json"]
    figures = json.loads(cli("lossy", "train", tuned, *words).out)
    before, after = read_run(tuned).lossy, read_run(tmp_path / "run").lossy
    assert before is not None
    assert after == replace(before, round_trip=2.0, coarsest=1.0)
    assert figures["round_trip"] == 2


def test_a_split_to_a_file_and_back(cli: Cli, tuned: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "d.glwl", tmp_path / "d.npy"
    said = cli("lossy", "compress", tuned, "test:0-19", "--step", "0.5", "--out", file, "--json")
    figures = json.loads(said.out)
    assert figures["bytes"] == file.stat().st_size
    assert figures["psnr"] is None or figures["psnr"] > 20  # without a loss it is infinite
    assert cli("lossy", "decompress", tuned, file, "--out", out).code == 0
    assert np.load(out).shape == (20, 1, 8, 8)
    assert "exists already" in cli("lossy", "compress", tuned, "test:0", "--out", file).err


def test_image_files_keep_their_size(cli: Cli, tuned: Path, tmp_path: Path) -> None:
    grey = np.add.outer(np.arange(21), np.arange(30)).astype(np.uint8) * 4
    Image.fromarray(grey).save(tmp_path / "a.png")
    file, out = tmp_path / "a.glwl", tmp_path / "b.png"
    outcome = cli("lossy", "compress", tuned, tmp_path / "a.png", "--out", file)
    assert "12 tiles" in outcome.out
    assert cli("lossy", "decompress", tuned, file, "--out", out).code == 0
    with Image.open(out) as picture:
        assert picture.size == (30, 21)
    Image.fromarray(grey[:, :8]).save(tmp_path / "c.png")
    both = [tmp_path / "a.png", tmp_path / "c.png"]
    assert "of another size" in cli("lossy", "compress", tuned, *both, "--out", tmp_path / "d").err


def test_a_curve(cli: Cli, tuned: Path, tmp_path: Path) -> None:
    out = tmp_path / "curve.png"
    words = ["test:0-9", "--codecs", "none", "--generations", "3", "--out", out, "--json"]
    figures = json.loads(cli("lossy", "curve", tuned, *words).out)
    assert out.read_bytes()[1:4] == b"PNG"
    assert len(figures["curves"]["glowkit"]) == 8
    assert len(figures["generations"]["glowkit"]["psnr"]) == 3
    assert "--codecs none" in cli("lossy", "curve", tuned, "--codecs", "jpeg").err
    said = cli("lossy", "curve", tuned, "test:0-1", "--out", out)
    assert (said.code, "they are left out" in said.err) == (0, True), said.err
    assert "is not there" in cli("lossy", "curve", tuned, "--codecs", "gif").err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "{run}"], "--out"),
        (["train", "--out", "{new}"], "name the RUN"),
        (["train", "--resume", "--finest", "1", "--out", "{run}"], "leave out --finest"),
        (["train", "--resume", "--out", "{run}"], "is no run of glowkit lossy train"),
        (["train", "{run}", "--finest", "9", "--out", "{new}"], "coarser than the coarsest"),
        (["train", "{run}", "--round-trip", "-1", "--out", "{new}"], "give 0 or more"),
        (["train", "{run}/model", "--out", "{new}"], "without data to train on"),
        (["compress", "{run}", "test:0", "--step", "0", "--out", "{new}"], "--step 0 is no"),
        (["compress", "{run}", "a.png", "test:0", "--out", "{new}"], "a file of their own"),
        (["curve", "nowhere", "--step", "-1"], "--step -1 is no"),
        (["train", "{run}", "--out", "hf:a/b"], "is on the Hub"),
        (["train", "nowhere", "--resume", "--out", "{run}"], "leave nowhere out"),
        (["decompress", "{run}", "nothing.glwl"], "no such file"),
        (["nothing"], "No such command"),
    ],
)
def test_what_cannot_be_is_said(
    cli: Cli, master: Path, tmp_path: Path, words: list[str], sentence: str
) -> None:
    given = [word.format(run=master, new=tmp_path / "new") for word in words]
    outcome = cli("lossy", *given)
    assert outcome.code == 2
    assert sentence.lower() in outcome.err.lower()


def test_a_run_of_likelihood_is_warned_of(cli: Cli, master: Path, tmp_path: Path) -> None:
    words = ["test:0-3", "--step", "0.3", "--out", tmp_path / "a.glwl"]
    outcome = cli("lossy", "compress", master, *words)
    assert outcome.code == 0, outcome.err
    assert "train it on with glowkit lossy train" in outcome.err


def test_a_model_without_its_run_is_not_said_to_be_of_likelihood(
    cli: Cli, tuned: Path, tmp_path: Path
) -> None:
    """As of a model of the Hub, where no run says how it was trained."""
    picture, file = tmp_path / "a.png", tmp_path / "a.glwl"
    Image.new("L", (8, 8), 128).save(picture)
    outcome = cli("lossy", "compress", tuned / "model", picture, "--out", file)
    assert outcome.code == 0, outcome.err
    assert "which alone says whether it was trained for coding with loss" in outcome.err
    assert "for its likelihood" not in outcome.err
    assert cli("lossy", "decompress", tuned / "model", file, "--out", tmp_path / "b.png").code == 0
