"""report.html: written anew from what every command kept, whichever came last."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from cli.conftest import Cli
from glowkit import load, save
from glowkit.cli import main

GALLERY = (
    "Temperatures",
    "Nearest training images",
    "Interpolation",
    "Reconstruction",
    "Most and least likely images",
    "How bits/dim are spread",
)


@pytest.fixture(scope="module")
def reported(master: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Path(shutil.copytree(master, tmp_path_factory.mktemp("reported") / "run"))
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(run)])
    assert not stopped.value.code
    return run


@pytest.fixture
def full(reported: Path, tmp_path: Path) -> Path:
    """A run with its full report."""
    return Path(shutil.copytree(reported, tmp_path / "run"))


def page_of(run: Path) -> str:
    return (run / "report.html").read_text()


def titles(run: Path) -> list[str]:
    return re.findall(r"<h2>(.*)</h2>", page_of(run))


def change(run: Path) -> None:
    """What training on does: other weights."""
    model, noise = load(run / "model"), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1e-3 * torch.randn(parameter.shape, generator=noise))
    save(model, run / "model")


def test_an_evaluation_keeps_the_sections_of_the_full_report(cli: Cli, full: Path) -> None:
    kept, pictures = titles(full), page_of(full).count("data:image/png;base64,")
    assert set(GALLERY) < set(kept)
    assert len(kept) == 11
    figures = json.loads(cli("evaluate", full, "--importance", 3, "--json").out)
    assert titles(full) == kept
    page = page_of(full)
    assert page.count("data:image/png;base64,") == pictures
    assert f"{figures['bits_per_dim']:.4f} ±" in page
    assert "<td>3</td>" in page  # importance samples of the figures above
    assert "1 importance sample(s)</th>" in page  # those of the report are not lost
    assert "mixture of 10 Gaussians" in page
    assert "earlier weights" not in page


def test_figures_are_refreshed_in_place(cli: Cli, full: Path) -> None:
    before = json.loads(cli("evaluate", full, "--json").out)["bits_per_dim"]
    change(full)
    after = json.loads(cli("evaluate", full, "--json").out)["bits_per_dim"]
    page = page_of(full)
    assert f"{after:.4f}" != f"{before:.4f}"
    assert f"{after:.4f} ±" in page
    assert f"{before:.4f} ±" not in page


def test_parts_of_earlier_weights_say_so(cli: Cli, full: Path) -> None:
    assert cli("evaluate", full, "--split", "validation").code == 0
    change(full)
    assert cli("evaluate", full).code == 0
    page = page_of(full)
    assert page.count("Of earlier weights") == len(GALLERY) + 1  # and validation
    assert re.search(r"validation split of digits: \d+ images.*Of earlier weights", page)
    assert cli("report", full).code == 0
    assert page_of(full).count("Of earlier weights") == 1


def test_every_split_has_its_figures(cli: Cli, run: Path) -> None:
    found = {
        split: json.loads(cli("evaluate", run, "--split", split, "--json").out)
        for split in ("validation", "test")
    }
    page = page_of(run)
    for split, figures in found.items():
        assert f"{figures['bits_per_dim']:.4f} ± {figures['standard_error']:.4f}" in page
        assert f"{split} split of digits" in page
    assert page.index("Bits/dim on the test split") < page.index("validation split of digits")


def test_sections_say_what_they_are_of(cli: Cli, run: Path) -> None:
    assert cli("report", run, "--importance", 2, "--seed", 7).code == 0
    page = page_of(run)
    for note in (
        "10 samples a temperature, seed 7.",
        "images of the test split of digits, 17 levels, 2 importance sample(s), seed 7.",
        "100 samples, seed 7; 1297 training images of digits.",
    ):
        assert note in page


def test_classes_and_attributes_have_sections(cli: Cli, conditional: Path) -> None:
    assert cli("attributes", conditional).code == 0
    told = json.loads(cli("evaluate", conditional, "--classify", "--json").out)
    assert cli("evaluate", conditional).code == 0
    page = page_of(conditional)
    assert {"Classes", "Attributes"} < set(titles(conditional))
    assert f"{told['accuracy']:.2%} ± {told['accuracy_standard_error']:.2%} of the images" in page
    assert re.search(r"AUROC.*\b3 0\.\d{3} \([\d,]+ and [\d,]+\)", page)


DAMAGED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"format": 1}',
    b"[" * 100_000,
    b'{"format": 1, "kind": "section", "content": [], "about": {}, "weights": "", "png": null}',
    b'{"format": 1, "kind": "figures", "content": {"bits_per_dim": "2"}, "about": {},'
    b' "weights": "", "png": null}',
    b'{"format": 1, "kind": "section", "content": {"title": "a", "text": "b"}, "about": {},'
    b' "weights": "", "png": "bm8="}',
    b'{"format": 1, "kind": "section", "content": {"title": "a", "text": "b", "bars": {"edges":'
    b' [1], "counts": [1], "mean": 1}}, "about": {}, "weights": "", "png": null}',
    b'{"format": 1, "kind": "section", "content": {"title": "a", "text": "b", "bars": {"edges":'
    b' [0, Infinity], "counts": [1], "mean": 1}}, "about": {}, "weights": "", "png": null}',
    b'{"format": 2, "kind": "section", "content": {"title": "a", "text": "b"}, "about": {},'
    b' "weights": "", "png": null}',
]


def test_damaged_parts_are_left_out_and_said(cli: Cli, run: Path) -> None:
    names = [f"figures-validation-{number}.json" for number in range(1, len(DAMAGED) + 1)]
    for name, content in zip(names, DAMAGED, strict=True):
        (run / "report" / name).write_bytes(content)
    outcome = cli("evaluate", run)
    assert outcome.code == 0, outcome.err
    page = page_of(run)
    for name in names:
        assert page.count(name) == 1
    for name in names[1:]:
        (run / "report" / name).unlink()
    assert "figures-validation-1.json is damaged" in page
    assert cli("evaluate", run, "--split", "validation").code == 0
    assert "is damaged" not in page_of(run)


def test_text_of_a_part_is_escaped(cli: Cli, run: Path) -> None:
    evil = "<script>alert(1)</script>"
    held = {"format": 1, "kind": "section", "weights": evil, "png": None}
    part = held | {"content": {"title": evil, "text": evil}, "about": {"note": evil}}
    (run / "report" / "section-evil.json").write_text(json.dumps(part))
    assert cli("evaluate", run).code == 0
    assert "<script" not in page_of(run)
    assert page_of(run).count("&lt;script&gt;") == 4  # title, contents, text and note


def test_a_full_report_of_a_run_without_parts_is_set_aside(cli: Cli, full: Path) -> None:
    for part in (full / "report").iterdir():
        part.unlink()
    (full / "report").rmdir()
    page = page_of(full)
    assert cli("evaluate", full).code == 0
    assert len(titles(full)) == 5
    assert (full / "report-earlier.html").read_text() == page
