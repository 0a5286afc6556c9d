"""--json: one strictly valid object, whose names and types are those of docs/json.md."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import glowkit
from cli.conftest import SMALL, Cli
from glowkit.cli.common import show_json
from glowkit.cli.main import COMMANDS

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
TYPES: dict[str, Any] = {
    "integer": int, "number": (int, float), "text": str, "list": list, "object": dict,
}  # fmt: skip


def tables() -> dict[str, dict[str, tuple[str, str]]]:
    """The documented names of each table, with type and meaning."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    table = r"^\| ([a-z]+(?: [A-Za-z]+)?) \| type.*\n\|---.*\n((?:\|.*\n)+)"
    for heading, body in re.findall(table, PAGE, re.MULTILINE):
        rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \| (.*) \|$", body, re.MULTILINE)
        assert len(rows) == body.count("\n"), heading
        found[heading] = {name: (kind, about) for name, kind, about in rows}
    return found


TABLES = tables()


def strict(text: str) -> dict[str, Any]:
    """The object; an error for NaN, for more than one line, and for anything but an object."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert text.count("\n") == 1
    read = json.loads(text, parse_constant=refuse)
    assert isinstance(read, dict)
    return read


def check(said: dict[str, Any], *wanted: str) -> None:
    known = {name: row for table in wanted for name, row in TABLES[table].items()}
    for name, value in said.items():
        assert name in known, name
        kind, about = known[name]
        if value is None:
            assert "null" in about, name
        else:
            assert isinstance(value, TYPES[kind]), (name, value)
            assert isinstance(value, bool) is False
    for name, (_, about) in known.items():
        # What is not there always has its condition after a semicolon.
        assert name in said or ";" in about, name


# The line, and the tables that its object is in.
LINES = {
    "evaluate {run}": ("images", "evaluate"),
    "evaluate {conditional} --classify": ("images", "evaluate"),
    "evaluate {run}/model digits": ("images", "evaluate"),
    "report {run}": ("images", "report"),
    "sample {run}": ("sample",),
    "sample {run} --out {out}/s.npz -n 3": ("sample",),
    "sample {run} --out {out}/folder -n 3": ("sample",),
    "reconstruct {run}": ("reconstruct",),
    "interpolate {run} test:0-1": ("interpolate",),
    "interpolate {run} --random 4 --grid": ("interpolate",),
    "scales {run} test:0": ("scales",),
    "compare {run} {run}/model --out {out}/c.png": ("compare",),
    "anomalies {run} -n 60 --importance 1 --out {out}/a.html": ("anomalies",),
    "anomalies {run} --against {run}/digits.npy -n 60 --scores likelihood,typicality --out"
    " {out}/b.html": ("anomalies",),
    "attributes {run}": ("attributes",),
    "edit {run} test:0-1 --attribute 3=0.5": ("edit",),
    "encode {run} test:0-3 --out {out}/l.npz": ("encode",),
    "decode {run} {out}/l.npz --out {out}/d.png": ("decode",),
    "decode {run} {out}/l.npz --out {out}/d.npy": ("decode",),
    "compress {run} test:0-3 --out {out}/c.glwk": ("compress",),
    "decompress {run} {out}/c.glwk --out {out}/c.npy": ("decompress",),
    "lossy compress {run} test:0-3 --step 2 --out {out}/l.glwl": ("lossy compress",),
    "lossy curve {run} test:0-3 --codecs none --out {out}/l.png": ("lossy curve",),
    "app {run} --export {out}/page.html": ("app",),
    "data digits": ("data DATA",),
    "doctor": ("doctor",),
    "integrate circles --calls 7000 --compare flat --out {out}/i.png": ("integrate",),
    "integrate camel:3 --calls 7000 --set width=8": ("integrate",),
}


@pytest.fixture(scope="module")
def places(
    master: Path, conditional: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A run that the lines follow each other on: what one writes another reads."""
    out = tmp_path_factory.mktemp("json")
    run = shutil.copytree(master, out / "run")
    np.save(run / "digits.npy", np.random.default_rng(0).integers(0, 17, (60, 8, 8), np.uint8))
    return {"run": run, "conditional": conditional, "out": out}


@pytest.mark.parametrize("line", LINES)
def test_what_is_printed_is_what_is_documented(
    cli: Cli, places: dict[str, Path], line: str
) -> None:
    words = line.format(**places).split()
    if words[0] == "edit":
        cli("attributes", places["run"])
    if words[0] == "decode":
        cli("encode", places["run"], "test:0-3", "--out", places["out"] / "l.npz")
    if words[0] == "decompress":
        (places["out"] / "c.glwk").unlink(missing_ok=True)
        cli("compress", places["run"], "test:0-3", "--out", places["out"] / "c.glwk")
    outcome = cli(*words, "--json")
    assert outcome.code == 0, outcome.err
    check(strict(outcome.out), *LINES[line])


def test_training(cli: Cli, tmp_path: Path) -> None:
    said = strict(cli("train", "digits", *SMALL, "--out", tmp_path / "run", "--json").out)
    check(said, "images", "train")
    assert said["epochs"] == 1
    assert said["seed"] == 0
    for name in ("run", "model_path", "samples_path", "metrics_path", "report_path"):
        assert Path(said[name]).exists()
    again = strict(cli("evaluate", tmp_path / "run", "--json").out)
    assert again["bits_per_dim"] == pytest.approx(said["bits_per_dim"], rel=1e-5)


def test_points(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    few = ["--epochs", "0.1", "--set", "steps=1", "--set", "width=8"]
    said = strict(cli("train", "points:moons", *few, "--out", run, "--json").out)
    assert isinstance(said.pop("points_per_second"), float)
    assert isinstance(said.pop("validation_nll_nats"), float)
    for name in ("points", "validation_points"):
        whole = said[f"{name}_in_split"]
        assert said.pop(name) == whole if name != "points" else said[name] == whole
    said.pop("validation_points_in_split")
    check(said, "points", "train")
    check(strict(cli("evaluate", run, "--json").out), "points", "evaluate")
    said = strict(cli("sample", run, "-n", 9, "--json").out)
    assert (said.pop("points"), said.pop("broken_points")) == (9, 0)
    check(said, "sample")
    assert set(strict(cli("data", "points:moons", "--json").out)) == {
        "data", "points", "entropy_nats",
    }  # fmt: skip


def test_export(cli: Cli, tmp_path: Path) -> None:
    model = glowkit.build(glowkit.PointsConfig(2, steps=1, width=8))
    glowkit.initialize(model, torch.randn(64, 2))
    run, out = glowkit.save(model, tmp_path / "model"), tmp_path / "points.pt2"
    said = strict(cli("export", run, "--what", "log-prob", "--out", out, "--json").out)
    check(said, "export")
    assert said["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["N", 2]}]
    assert said["outputs"] == [{"name": "log_p", "dtype": "float32", "shape": ["N"]}]
    assert said["bytes"] == out.stat().st_size
    assert said["largest_difference"] <= 1e-4


def test_lists(cli: Cli) -> None:
    for table in ("presets", "data"):
        for each in strict(cli(table, "--json").out).values():
            check(each, table)


def test_every_command_is_documented() -> None:
    assert {c.__name__.removesuffix("_") for c in COMMANDS} <= set(TABLES)
    documented = {name for table in TABLES for name in TABLES[table]}
    assert all(re.fullmatch("[a-z_]+", name) for name in documented)


def test_an_error_prints_no_object(cli: Cli) -> None:
    outcome = cli("evaluate", "nowhere", "--json")
    assert (outcome.code, outcome.out) == (2, "")


def test_what_is_not_finite_is_null_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"a": math.nan, "b": [1.0, math.inf], "c": {"d": (-math.inf,)}, "e": 1})
    assert strict(capsys.readouterr().out) == {
        "a": None,
        "b": [1.0, None],
        "c": {"d": [None]},
        "e": 1,
        "not_finite": {"a": "NaN", "b.1": "infinity", "c.d.0": "-infinity"},
    }
