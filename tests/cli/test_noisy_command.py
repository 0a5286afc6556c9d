"""Models of noisy images by command: nats and never bits/dim, guided and denoised samples."""

import json
from pathlib import Path

import pytest

from cli.conftest import Cli
from glowkit.cli import main

TARFLOW = "--preset tarflow-tiny --set blocks=1 --set layers=1 --set width=8 --set heads=1"
NOISE = "--conditional --set class_dropout=0.1 --set dequantization=normal --epochs 0.2"


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "noisy"
    with pytest.raises(SystemExit) as stopped:
        main(["train", "digits", *f"{TARFLOW} {NOISE}".split(), "--out", str(run)])
    assert not stopped.value.code
    return run


def test_its_figures_are_nats(cli: Cli, noisy: Path) -> None:
    told = cli("evaluate", noisy, "--draws", "2")
    assert "NLL, noisy           ≈" in told.out
    assert "bits/dim)" in told.out  # that it is none
    figures = json.loads(cli("evaluate", noisy, "--draws", "2", "--json").out)
    assert not [name for name in figures if "bits" in name]
    assert figures["noise_deviation"] == 0.05
    assert f"{figures['noisy_nll_nats']:.4f}" in told.out
    report = (noisy / "report.html").read_text()
    assert f"{figures['noisy_nll_nats']:.4f}" in report
    assert "its/dim" not in report
    assert "bits" not in (noisy / "metrics.csv").read_text()
    assert "noisy_nll_nats" in (noisy / "metrics.csv").read_text()
    assert "its/dim" not in (noisy / "model-card.md").read_text().replace("no bits/dim", "")


def test_samples_are_denoised_and_guided(cli: Cli, noisy: Path, tmp_path: Path) -> None:
    def drawn(*options: object) -> bytes:
        path = tmp_path / "x.npz"
        about = json.loads(cli("sample", noisy, "-n", 4, "--out", path, "--json", *options).out)
        assert about["noise_left"] == (0.05 if "--noisy" in options else 0)
        assert about.get("guidance") == (2.0 if "--guidance" in options else None)
        return path.read_bytes()

    plain = drawn()
    assert drawn("--guidance", 2) != plain
    assert drawn("--noisy") != plain


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sample {run} --attention-temperature 2", "leave out --attention-temperature"),
        ("sample {run} --guidance -1", "give 0, for none, or more"),
        ("evaluate {run} --baselines", "leave out --baselines"),
        ("evaluate {run} --classify", "none can be made of it"),
        ("evaluate {run} --importance 2", "--draws"),
        ("anomalies {run}", "told without labels"),
        ("attributes {run}", "none can be made of it"),
        ("compress {run} test:0", "no probability of whole numbers"),
        ("lossy compress {run} test:0", "needs a flow that dequantizes"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    cli: Cli, noisy: Path, tmp_path: Path, line: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cli(*line.format(run=noisy).split())
    assert outcome.code == 2, outcome.out
    assert words in outcome.err.splitlines()[-1]


@pytest.mark.slow
def test_other_commands_take_it(cli: Cli, noisy: Path, tmp_path: Path) -> None:
    told = cli("compare", noisy, "-n", 2, "--out", tmp_path / "a.png", "--json")
    assert "noisy_nll_nats" in json.loads(told.out)["runs"][0]
    assert cli("reconstruct", noisy, "-n", 2).code == 0
    assert cli("report", noisy).code == 0
    page = (noisy / "report.html").read_text()
    assert page.count("Left out: log p is of images with noise") == 2
    assert "not a semantic latent" in page
