"""`glowkit import`: from another implementation's file to a model that the other commands take."""

import json
from pathlib import Path

import pytest
import torch

import glowkit
from cli.conftest import Cli
from glowkit.models.importers import FORMATS, import_model
from models.importers.test_likelihood import LAYOUTS, write


@pytest.mark.parametrize("format", FORMATS)
def test_an_imported_model_samples_and_evaluates(
    cli: Cli, files: Path, tmp_path: Path, format: str
) -> None:
    path = write(tmp_path / "checkpoint", format, LAYOUTS[format].checkpoint())
    out = tmp_path / "model"
    said = cli("import", path, "--format", format, "--out", out, "--size", "8", "--levels", "256")
    assert said.code == 0, said.err
    assert "3x8x8" in said.out
    assert str(out) in said.out
    outcome = cli("evaluate", out, files / "colour.npy", "--split", "train", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["largest_pixel_error"] == 0
    assert cli("sample", out, "--count", "2").code == 0


def test_the_figures_and_the_defaults(cli: Cli, tmp_path: Path) -> None:
    tensors = {n: t.float() for n, t in LAYOUTS["rosinality"].checkpoint(affine=False).items()}
    path = write(tmp_path / "checkpoint", "rosinality", tensors)
    out = tmp_path / "model"
    command = ["import", path, "--format", "rosinality", "--size", "8"]
    outcome = cli(*command, "--out", out, "--json")
    assert outcome.code == 0, outcome.err
    figures = json.loads(outcome.out)
    assert figures.pop("parameters") == sum(p.numel() for p in glowkit.load(out).parameters())
    assert figures == {
        "image_shape": [3, 8, 8],
        "pixel_levels": 32,
        "levels": 2,
        "steps": 3,
        "width": 8,
        "coupling": "additive",
        "permutation": "conv1x1",
        "classes": 0,
        "path": str(out),
    }
    assert glowkit.load(out).anchor.dtype == torch.float32
    assert cli(*command, "--out", tmp_path / "wide", "--dtype", "float64").code == 0
    assert glowkit.load(tmp_path / "wide").anchor.dtype == torch.float64


def test_a_conditional_model_draws_a_class(cli: Cli, tmp_path: Path) -> None:
    path = write(tmp_path / "glow.npz", "openai", LAYOUTS["openai"].checkpoint(classes=4))
    out = tmp_path / "model"
    assert cli("import", path, "--format", "openai", "--out", out, "--size", "8").code == 0
    assert cli("sample", out, "--count", "2", "--class", "3").code == 0
    assert cli("sample", out, "--class", "4").code == 2


def test_the_help_names_every_format(cli: Cli) -> None:
    outcome = cli("import", "--help")
    assert outcome.code == 0
    assert all(name in outcome.out for name in FORMATS)


# The rest of the command, with names of files to fill in, and words of its sentence.
BAD = {
    "no format": ("{file} --out {out}", "--format"),
    "no model": ("{file} --format rosinality", "--out"),
    "unknown format": ("{file} --format tensorflow --out {out}", "y0ast, openai, rosinality"),
    "wrong format": ("{file} --format y0ast --out {out}", "it looks like rosinality"),
    "missing file": ("{out}.pt --format y0ast --out {out}", "no such file"),
    "not a checkpoint": ("{text} --format y0ast --out {out}", "damaged"),
    "missing tensor": ("{less} --format rosinality --size 8 --out {out}", "lacks the tensor"),
    "no size": ("{file} --format rosinality --out {out}", "--size"),
    "size not divisible": ("{file} --format rosinality --size 9 --out {out}", "8 or 12"),
    "size not a number": ("{file} --format rosinality --size big --out {out}", "--size"),
    "levels out of range": (
        "{file} --format rosinality --size 8 --levels 1 --out {out}",
        "2 to 65536",
    ),
    "unknown dtype": ("{file} --format rosinality --dtype float16 --out {out}", "float64"),
    "model exists": ("{file} --format rosinality --size 8 --out {good}", "exists already"),
    "file in the way": ("{file} --format rosinality --size 8 --out {text}", "exists already"),
    "below a file": ("{file} --format rosinality --size 8 --out {text}/model", "cannot write"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(cli: Cli, files: Path, tmp_path: Path, case: str) -> None:
    tensors = LAYOUTS["rosinality"].checkpoint()
    names = {
        "file": write(tmp_path / "glow.pt", "rosinality", tensors),
        "less": write(tmp_path / "less.pt", "rosinality", dict(list(tensors.items())[:-1])),
        "text": tmp_path / "notes.txt",
        "good": files / "good",
        "out": tmp_path / "model",
    }
    names["text"].write_text("not a checkpoint")
    rest, words = BAD[case]
    outcome = cli("import", *(part.format(**names) for part in rest.split()))
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.startswith("glowkit: ")
    assert outcome.err.count("\n") == 1
    assert not names["out"].exists()


def test_what_the_command_writes_is_what_python_reads(cli: Cli, tmp_path: Path) -> None:
    path = write(tmp_path / "glow.pt", "y0ast", LAYOUTS["y0ast"].checkpoint())
    assert cli("import", path, "--format", "y0ast", "--out", tmp_path / "model").code == 0
    state, expected = glowkit.load(tmp_path / "model").state_dict(), import_model(path, "y0ast")
    assert all(torch.equal(state[name], t) for name, t in expected.state_dict().items())
