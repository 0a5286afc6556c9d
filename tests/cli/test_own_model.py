"""A model of the user's own, from the command line: trained, and then taken by every command."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.conftest import Cli
from glowkit.bijections import Actnorm
from glowkit.data import open_source
from glowkit.densities import Dequantize, StandardNormal, Then, Uniform
from glowkit.models import families
from glowkit.training import TrainConfig, train

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_family.py"
SMALL = ("--set", "steps=1", "--set", "width=8", "--epochs", 1, "--device", "cpu")


def forget() -> None:
    """As if this process had never imported a file of a user's own."""
    for kind, found in list(families._FAMILIES.items()):
        if found.defined_in:
            del families._FAMILIES[kind]
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def strange(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    forget()
    yield
    forget()


def test_a_model_of_ones_own_from_training_to_its_report(cli: Cli, tmp_path: Path) -> None:
    file = Path(shutil.copy(EXAMPLE, tmp_path / "mine.py"))
    run, own = tmp_path / "run", ("--model", file)
    trained = cli("train", "digits", *own, *SMALL, "--out", run, "--json")
    assert trained.code == 0, trained.err
    figures = json.loads(trained.out)
    assert figures["preset"] is None
    assert (figures["images"], figures["levels"], figures["largest_pixel_error"]) == (300, 17, 0)
    forget()
    refused = cli("evaluate", run)
    assert refused.code == 2
    assert f"family 'sinh' is of a user's own file, {file}:SinhConfig" in refused.err
    assert "--model FILE.py" in refused.err
    evaluated = cli("evaluate", run, *own, "--batch-size", 64, "--json")
    assert json.loads(evaluated.out)["bits_per_dim"] == figures["bits_per_dim"]
    for command in (
        ("sample", run, "--out", tmp_path / "samples.png"),
        ("reconstruct", run, "test:0-3", "--out", tmp_path / "again.png"),
        ("encode", run, "test:0-3", "--out", tmp_path / "latents.npz"),
        ("report", run),
        ("train", "--resume", "--out", run, "--epochs", 2, "--device", "cpu"),
        ("train", "--config", run / "config.yaml", "--out", tmp_path / "b", "--device", "cpu"),
    ):
        forget()
        done = cli(*command, *own)
        assert done.code == 0, done.err
    assert f"next:    glowkit sample {tmp_path / 'b'} --model {file}" in done.out
    assert f"config.yaml --model {file}" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "none.py"), "none.py is no Python file; give FILE.py, or FILE.py:CONFIG"),
        (("--model", f"{EXAMPLE}:Sinh"), "no family whose config is Sinh; choose one of"),
        (("--model", EXAMPLE, "--preset", "glow-tiny"), "--preset and --model both say which"),
        (("--model", EXAMPLE, "--set", "stepz=1"), "sinh has no setting 'stepz'; it has image_"),
        (("--model", EXAMPLE, "--set", "steps=x"), "steps is 'x'; it must be a whole number"),
        (("--model", EXAMPLE, "--conditional"), "sinh has no setting classes"),
    ],
)
def test_what_cannot_be_trained(
    cli: Cli, tmp_path: Path, options: tuple[object, ...], words: str
) -> None:
    done = cli("train", "digits", *options, "--epochs", 1, "--out", tmp_path / "run")
    assert done.code == 2
    assert words in done.err
    assert not (tmp_path / "run").exists()


def test_what_goes_wrong_in_the_file_is_said_with_its_line(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import glowkit\n\nx = glowkit.nothing\n")
    done = cli("train", "digits", "--model", file, "--epochs", 1)
    assert done.code == 2
    assert f"{file} does not run: AttributeError" in done.err
    assert "(line 3)" in done.err


@pytest.mark.parametrize("command", ["train", "evaluate", "sample", "report", "app"])
def test_help_says_that_the_file_is_run(cli: Cli, command: str) -> None:
    text = " ".join(cli(command, "--help").out.replace("│", "").split())
    assert "--model" in text
    assert "code is run" in text


def test_a_run_of_a_density_made_by_hand_is_for_python(cli: Cli, tmp_path: Path) -> None:
    shape = (1, 8, 8)
    model = Dequantize(Uniform(shape), Then(Actnorm(1), StandardNormal(shape), shape), 17)
    config = TrainConfig(epochs=1, batch_size=256)
    train(open_source("digits"), model, config, tmp_path, accelerator="cpu", quiet=True)
    done = cli("evaluate", tmp_path)
    assert done.code == 2
    assert "made by hand" in done.err
    for options in (("--resume", "--out", tmp_path), ("--config", tmp_path / "config.yaml")):
        done = cli("train", *options)
        assert done.code == 2
        assert "this run is of a density made by hand" in done.err
