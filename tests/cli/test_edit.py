"""`glowkit attributes` and `glowkit edit`: from labels to edited images."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import glowkit
from cli.conftest import Cli


@pytest.fixture
def fitted(cli: Cli, run: Path) -> Path:
    """A run of digits with attributes."""
    assert cli("attributes", run).code == 0
    return run


def test_digits_have_their_classes_as_attributes(cli: Cli, run: Path) -> None:
    outcome = cli("attributes", run, "--json")
    assert outcome.code == 0, outcome.err
    said = json.loads(outcome.out)
    assert list(said["attributes"]) == list("0123456789")
    assert sum(row["positives"] for row in said["attributes"].values()) == 1297
    assert all(row["positives"] + row["negatives"] == 1297 for row in said["attributes"].values())
    assert all(0.5 < row["auroc"] <= 1 for row in said["attributes"].values())
    assert Path(said["path"]).parent == run


def test_a_table_is_printed(cli: Cli, run: Path) -> None:
    outcome = cli("attributes", run, "--orthogonal-to", "3", "--orthogonal-to", "5")
    assert outcome.code == 0, outcome.err
    assert "AUROC" in outcome.out
    assert "glowkit edit" in outcome.out


def test_an_edit_is_drawn_and_judged(cli: Cli, fitted: Path, tmp_path: Path) -> None:
    out = tmp_path / "edit.png"
    outcome = cli("edit", fitted, "test:0-2", "--attribute", "3=0.5", "--attribute", "8=-0.2",
                  "--out", out, "--json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    said = json.loads(outcome.out)
    assert said["columns"] == [{}, {"3": 0.5, "8": -0.2}]
    assert [row["image"] for row in said["edits"]] == ["test:0", "test:1", "test:2"]
    assert all(row["bits_per_dim"][0] != row["bits_per_dim"][1] for row in said["edits"])
    real = list(said["real_bits_per_dim"].values())
    assert real == sorted(real)
    with Image.open(out) as sheet:
        assert sheet.width > 2 * 56


def test_a_sweep_has_the_image_itself_in_the_middle(cli: Cli, fitted: Path, tmp_path: Path) -> None:
    arguments = ("edit", fitted, "test:4", "--out", tmp_path / "edit.png", "--json")
    swept = json.loads(cli(*arguments, "--sweep", "7=1", "--frames", "5").out)
    nothing = json.loads(cli(*arguments, "--attribute", "7=0").out)
    assert [column["7"] for column in swept["columns"]] == [-1, -0.5, 0, 0.5, 1]
    own = nothing["edits"][0]["bits_per_dim"]
    assert own[0] == own[1] == swept["edits"][0]["bits_per_dim"][2]


def test_an_image_file_comes_to_the_levels_of_the_model(
    cli: Cli, fitted: Path, tmp_path: Path
) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(pixels).save(tmp_path / "a.png")
    outcome = cli("edit", fitted, tmp_path / "a.png", "--sweep", "0=1")
    # Digits have 17 levels, which no image file has.
    assert outcome.code == 0
    assert "a.png: pixels of 256 levels are moved to the nearest of 17; the largest" in outcome.err


def test_celeba_as_it_comes(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOWKIT_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "celeba"
    (root / "img_align_celeba").mkdir(parents=True)
    generator = np.random.default_rng(0)
    rows = ["image_id,Smiling,Bald"]
    for i in range(1, 41):
        pixels = generator.integers(0, 128, (10, 8, 3)) + 100 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"img_align_celeba/{i:06}.jpg")
        rows.append(f"{i:06}.jpg,{1 if i % 2 else -1},-1")
    (root / "list_attr_celeba.csv").write_text("\n".join(rows))
    run = tmp_path / "run"
    small = ("--size", 8, "--set", "steps=1", "--set", "width=8", "--epochs", 1)
    assert cli("train", root, *small, "--out", run).code == 0
    outcome = cli("attributes", run, "--labels", root / "list_attr_celeba.csv", "--json")
    assert outcome.code == 0, outcome.err
    table = json.loads(outcome.out)["attributes"]
    assert list(table) == ["Smiling"]  # nobody is bald
    image = root / "img_align_celeba" / "000002.jpg"
    assert cli("edit", run, image, "--attribute", "Smiling=0.5").code == 0
    assert (run / "samples" / "edit.png").is_file()


def test_attributes_belong_to_their_weights(cli: Cli, fitted: Path) -> None:
    weights = fitted / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    outcome = cli("edit", fitted, "test:0", "--attribute", "3=1")
    assert outcome.code == 2
    assert "other weights" in outcome.err


def test_attributes_of_other_weights_are_refused(cli: Cli, fitted: Path) -> None:
    model = glowkit.load(fitted)
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    glowkit.save(model, fitted / "model")
    outcome = cli("edit", fitted, "test:0", "--attribute", "3=1")
    assert outcome.code == 2
    assert "belongs to other weights" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--attribute", "smiling=1"), "known: 0, 1, 2"),
        (("--attribute", "3"), "NAME=AMOUNT"),
        (("--attribute", "3=much"), "NAME=AMOUNT"),
        (("--attribute", "3=inf"), "NAME=AMOUNT"),
        ((), "--attribute"),
        (("--sweep", "10=1"), "did you mean 1"),
    ],
)
def test_bad_edits_in_one_sentence(
    cli: Cli, fitted: Path, arguments: tuple[str, ...], words: str
) -> None:
    outcome = cli("edit", fitted, "test:0", *arguments)
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
