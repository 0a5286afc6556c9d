"""`glowkit resonance`: a search from a file or of synthetic events, its page, and its refusals."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cli.conftest import Cli
from cli.test_json import check, strict
from glowkit.cli import resonance as command
from glowkit.data.resonance import synthetic
from glowkit.tasks.resonance import anode, classifier, sideband


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LEAST_STEPS": 10, "PASSES": 0, "STEPS": 1, "WIDTH": 8}.items():
        monkeypatch.setattr(sideband, name, value)
    for module in (sideband, anode, classifier):
        monkeypatch.setattr(module, "FOLDS", 2)
    monkeypatch.setattr(anode, "STEPS", 10)
    monkeypatch.setitem(classifier.SETTINGS, "max_iter", 3)
    monkeypatch.setattr(command, "TEST_BACKGROUND", 2000)
    monkeypatch.setattr(command, "TEST_SIGNAL", 500)
    monkeypatch.setattr(command, "LEAST_OF_TEST", 25)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    events = synthetic(torch.Generator().manual_seed(0), 3000, 100)
    assert events.truth is not None
    path = tmp_path_factory.mktemp("events") / "events.csv"
    columns = torch.cat([events.m[:, None], events.x, events.truth[:, None].double()], 1)
    np.savetxt(path, columns.numpy(), delimiter=",", header="m,x1,x2,x3,x4,label", comments="")
    return path


def test_a_file_with_truth(cli: Cli, table: Path, tmp_path: Path) -> None:
    page, scores = tmp_path / "page.html", tmp_path / "scores.csv"
    words = ["--mass", "m", "--signal", "0.45:0.55", "--truth", "label", "--scan"]
    words += ["--method", "density,cathode", "--out", page, "--scores", scores]
    outcome = cli("resonance", table, *words, "--json")
    assert outcome.code == 0, outcome.err
    said = strict(outcome.out)
    said.pop("not_finite", None)  # cuts that leave too few of these few events
    check(said, "resonance")
    assert said["features"] == ["x1", "x2", "x3", "x4"]
    assert set(said["max_sic"]) == set(said["excesses"]) == {"cathode", "density"}
    assert [cut["efficiency"] for cut in said["excesses"]["cathode"]] == [1, 0.1, 0.01, 0.001]
    assert len(said["scan"]["windows"]) > 2
    assert 0 < said["signal_in_window"] <= 100
    rows = list(csv.reader(scores.read_text().splitlines()))
    assert rows[0] == ["row", "m", "density", "cathode"]
    assert len(rows) == 3101
    assert sum(row[2] == "-inf" for row in rows) == said["dropped_events"]
    html = page.read_text()
    assert html.count("data:image/png") == 4  # SIC, scan, and two methods' spectra
    assert not re.search(r"(src|href)=.?(http|/)", html)
    assert "max SIC" in html


def test_a_file_without_truth_says_nothing_of_it(cli: Cli, table: Path, tmp_path: Path) -> None:
    words = ["--mass", "m", "--signal", "0.45:0.55", "--features", "x1,x2", "--method", "cwola"]
    words += ["--range", "0.1:0.9", "--scores", tmp_path / "s.csv"]
    outcome = cli("resonance", table, *words, "--out", tmp_path / "p.html")
    assert outcome.code == 0, outcome.err
    assert "Z = " in outcome.out
    given = table.read_text().splitlines()[1:]
    for line in (tmp_path / "s.csv").read_text().splitlines()[1:]:
        row, m, _ = line.split(",")
        assert float(given[int(row)].split(",")[0]) == pytest.approx(float(m))
        assert 0.1 <= float(m) <= 0.9
    assert "3,100 events" not in (tmp_path / "p.html").read_text()
    assert "SIC" not in outcome.out
    assert not re.search("max SIC|AUROC", (tmp_path / "p.html").read_text())


def test_a_truth_without_signal_is_no_reason_to_lose_a_search(
    cli: Cli, table: Path, tmp_path: Path
) -> None:
    head, *lines = table.read_text().splitlines()
    nothing = tmp_path / "background.csv"
    nothing.write_text("\n".join([head, *(line for line in lines if float(line[-24:]) == 0)]))
    words = ["--mass", "m", "--signal", "0.45:0.55", "--truth", "label", "--method", "density"]
    outcome = cli("resonance", nothing, *words, "--out", tmp_path / "p.html", "--json")
    assert outcome.code == 0, outcome.err
    assert "holds 0 events of signal and" in outcome.err
    assert "max_sic" not in strict(outcome.out)
    assert "max SIC" not in (tmp_path / "p.html").read_text()


def test_synthetic_events_are_judged_beside_the_best_score(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "__defaults__", (3000, 100, (0.0, 1.0)))
    words = ["--inject", "100", "--method", "cathode,anode", "--out", tmp_path / "p.html"]
    outcome = cli("resonance", "synthetic", *words, "--json")
    assert outcome.code == 0, outcome.err
    said = strict(outcome.out)
    said.pop("not_finite", None)  # cuts that leave too few of these few events
    check(said, "resonance")
    assert set(said["max_sic"]) == {"cathode", "anode", "idealised", "supervised", "optimal"}
    assert said["optimal"] == said["max_sic"]["optimal"] == max(said["max_sic"].values())
    elsewhere = ["--signal", "0.2:0.3", "--method", "density", "--out", tmp_path / "q.html"]
    said = strict(cli("resonance", "synthetic", *elsewhere, "--json").out)
    assert "optimal" not in said  # there is no signal in that window
    assert said["signal_in_window"] == 0


BAD = {
    "no file": ("nowhere.csv --mass m --signal 0.4:0.5", "no such file"),
    "no mass": ("{table} --signal 0.45:0.55", "needs --mass"),
    "no window": ("{table} --mass m", "needs --mass COLUMN and --signal"),
    "no numbers": ("{table} --mass m --signal low:high", "takes two numbers"),
    "one number": ("{table} --mass m --signal 0.5", "takes two numbers"),
    "window outside": ("{table} --mass m --signal 1.5:1.6", "reaches beyond the data"),
    "empty range": ("{table} --mass m --signal 0.4:0.5 --range 2:3", "widen it"),
    "no range": ("{table} --mass m --signal 0.4:0.5 --range 2", "--range takes two numbers"),
    "no method": ("{table} --mass m --signal 0.45:0.55 --method flow", "no method 'flow'"),
    "method twice": ("{table} --mass m --signal 0.4:0.6 --method cwola,cwola", "names one twice"),
    "labels as feature": (
        "{table} --mass m --signal 0.45:0.55 --truth label --features x1,label",
        "cannot be a feature",
    ),
    "page": (
        "{table} --mass m --signal 0.45:0.55 --out page.png",
        "give --out a name in .html, not page.png",
    ),
    "signal in a file": ("{table} --mass m --signal 0.4:0.5 --inject 9", "leave out --inject"),
    "mass of synthetic": ("synthetic --mass mjj", "leave out --mass"),
    "truth of synthetic": ("synthetic --truth label", "leave out --truth"),
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_refused_in_one_sentence(
    cli: Cli, table: Path, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words, sentence = BAD[line]
    outcome = cli("resonance", *words.format(table=table).split(), "--quiet")
    assert outcome.code == 2
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
