"""An option that would change nothing is refused in one sentence, as is a count without sense."""

from pathlib import Path

import pytest

from cli.conftest import Cli
from glowkit.cli import main

# The line, and words of its sentence.
LINES = {
    "size without data": ("data --size 8", "leave out --size"),
    "channels without data": ("data --channels 1", "leave out --channels"),
    "skip without data": ("data --skip-bad", "leave out --skip-bad"),
    "skip in digits": ("data digits --skip-bad", "leave out --skip-bad"),
    "skip in points": ("train points:moons --skip-bad", "leave out --skip-bad"),
    "skip in an array": ("data {files}/side.npy --skip-bad", "leave out --skip-bad"),
    "skip in the run's data": ("evaluate {run} --skip-bad", "leave out --skip-bad"),
    "size of digits": ("train digits --size 16", "leave out --size"),
    "size of points": ("train points:moons --size 16", "leave out --size"),
    "setting twice": ("train digits --set steps=1 --set steps=2", "--set steps is given twice"),
    "classes of points": ("train points:moons --conditional", "leave out --conditional"),
    "background without ratio": (
        "anomalies {run} --scores latent --background {run}",
        "leave out --background",
    ),
    "ensemble without waic": (
        "anomalies {run} --scores latent --ensemble {run}",
        "--ensemble names no run but",
    ),
    "draws of points to score": ("anomalies {points} --importance 4", "leave out --importance"),
    "no examples": ("anomalies {run} -n 0", "--count"),
    "perturbed points": ("train points:moons --perturb 0.2 --out {files}/p", "leave out --perturb"),
    "classes without classes": ("sample {run} --class 1", "leave out --class"),
    "each class without classes": ("sample {run} --each-class", "leave out --each-class"),
    "noise without noise": ("sample {run} --noisy", "leave out --noisy"),
    "guidance of a Glow": ("sample {run} --guidance 1", "leave it out"),
    "guidance of points": ("sample {points} --guidance 1", "leave out --guidance"),
    "attention without guidance": (
        "sample {run} --attention-temperature 2",
        "leave out --attention-temperature",
    ),
    "one class and each": ("sample {conditional} --class 1 --each-class", "leave one of them"),
    "class of data": ("encode {conditional} --class 1", "leave it out"),
    "telling without classes": ("evaluate {run} --classify", "leave out --classify"),
    "batches of points": ("sample {points} --batch-size 7", "leave out --batch-size"),
    "classes of samples of points": ("sample {points} --class 1", "leave out --class"),
    "draws of points": ("evaluate {points} --importance 2", "leave out --importance"),
    "baselines of points": ("evaluate {points} --baselines", "leave out --baselines"),
    "count of named images": ("reconstruct {run} test:0-3 -n 2", "leave out --count"),
    "count of one file": ("reconstruct {run} {files}/one/a.png -n 2", "leave out --count"),
    "heat of images": ("interpolate {run} test:0-1 --temperature 1", "leave out --temperature"),
    "images and samples": ("interpolate {run} test:0-1 --random 2", "--random"),
    "split of named images": ("encode {run} test:0 --split train", "leave out --split"),
    "steps without a sweep": ("edit {run} test:0 --attribute 1=1 -n 5", "leave out --count"),
    "split of samples": ("app {run}/model --split train", "leave out --split"),
    "too many steps": ("edit {run} test:0 --sweep 1=1 -n 1000000000", "do not fit on a sheet"),
    "too many samples": ("interpolate {run} --random 1000000000", "do not fit on a sheet"),
    "too many models' samples": ("compare {run} -n 1000000000", "do not fit on a sheet"),
    "too many images": ("reconstruct {run} -n 1000000000", "do not fit on a sheet"),
    "too many draws": ("scales {run} test:0 -n 1000000000", "do not fit on a sheet"),
    "no frames": ("interpolate {run} test:0-1 -n 0", "2 or more"),
    "fewer than no images": ("reconstruct {run} -n -1", "--count 1"),
    "fewer than no samples": ("sample {run} -n -5", "--count 1"),
    "no points": ("sample {points} -n 0", "--count 1"),
    "no columns": ("scales {run} test:0 -n 0", "'--count'"),
    "no batch": ("evaluate {run} --batch-size 0", "'--batch-size'"),
    "a port below all": ("app {run} --port -1", "'--port'"),
    "port zero": ("app {run} --port 0", "'--port'"),
    "a port above all": ("app {run} --port 70000", "'--port'"),
    "whole by epochs": (
        "train digits --epochs 1 --whole-evaluations",
        "leave out --whole-evaluations",
    ),
    "devices below none": ("train digits --devices -1 --out {files}/new", "--devices 1"),
    "no host": ("train digits --nodes 0 --out {files}/new", "'--nodes'"),
}


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("points") / "run"
    few = ["--epochs", "0.1", "--set", "steps=1", "--set", "width=8", "--out", str(folder)]
    with pytest.raises(SystemExit) as stopped:
        main(["train", "points:moons", *few])
    assert not stopped.value.code
    return folder


@pytest.mark.parametrize("case", LINES)
def test_it_is_refused(
    cli: Cli, run: Path, conditional: Path, points: Path, files: Path, case: str
) -> None:
    line, words = LINES[case]
    places = {"run": run, "conditional": conditional, "points": points, "files": files}
    outcome = cli(*line.format(**places).split())
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.startswith("glowkit: ")
    assert outcome.err.count("\n") == 1


def test_a_batch_larger_than_the_data_is_said(cli: Cli, tmp_path: Path) -> None:
    small = ["--set", "steps=1", "--set", "width=8", "--epochs", "1", "--batch-size", "5000"]
    outcome = cli("train", "digits", *small, "--out", tmp_path / "run")
    assert outcome.code == 0
    assert "note: a batch of 5000 is all of the 1297 there are" in outcome.err


def test_torchrun_says_how_many(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    for option in ("--devices", "--nodes"):
        outcome = cli("train", "digits", option, 2, "--out", tmp_path / "run")
        assert outcome.code == 2
        assert "leave out --devices" in outcome.err
