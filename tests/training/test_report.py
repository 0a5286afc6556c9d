"""report.html: whole, self-contained and safe to open."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from glowkit import GlowkitError
from glowkit.pictures.sheet import image_sheet, save_png
from glowkit.training.report import write_report

FIGURES: dict[str, Any] = {
    "split": "test",
    "bits_per_dim": 2.31234,
    "standard_error": 0.01234,
    "images": 300,
    "levels": 17,
    "importance_samples": 16,
    "largest_pixel_error": 0,
}
METRICS = """\
step,epoch,train_bits_per_dim,validation_bits_per_dim,learning_rate
1,0.1,9.5,,0.0001
2,0.2,nan,,0.0002
3,0.3,4.25,4.5,0.0003
4,0.4,inf,,
5,0.5,3.75,3.875,0.0003
"""


def report(run: Path, metrics: str | None = METRICS, **changes: Any) -> str:
    run.mkdir(exist_ok=True)
    curves, sheet = run / "metrics.csv", run / "samples" / "sheet.png"
    if metrics is not None:
        curves.write_text(metrics)
    save_png(image_sheet([("T = 1", torch.zeros(2, 1, 4, 4, dtype=torch.int64))], 2), sheet)
    arguments: dict[str, Any] = {
        "figures": FIGURES,
        "settings": {"data": {"spec": "digits"}, "model": {"image_shape": (1, 8, 8)}},
        "sheets": [("step 5", sheet)],
        "curves": curves,
        "baselines": {"Gaussian": 2.951, "mixture of 10 Gaussians": 2.582},
        "command": "glowkit train --config run/config.yaml",
    }
    path = write_report(run, **(arguments | changes))
    assert path == run / "report.html"
    return path.read_text()


def inlined(page: str) -> list[bytes]:
    return [base64.b64decode(data) for data in re.findall(r"data:image/png;base64,([^\"]+)", page)]


def test_holds_everything_and_links_to_nothing(tmp_path: Path) -> None:
    page = report(tmp_path / "run")
    curves, sheet = inlined(page)
    assert curves.startswith(b"\x89PNG")
    assert sheet == (tmp_path / "run" / "samples" / "sheet.png").read_bytes()
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)', page))
    assert not re.search(r"https?:|href=|url\(|@import|<script", page)


def test_figures_stand_beside_the_baselines(tmp_path: Path) -> None:
    page = report(tmp_path / "run")
    for text in ("2.3123 ± 0.0123", "<td>300</td>", "<td>17</td>", "<td>16</td>", "<td>0</td>"):
        assert text in page
    assert page.index("2.3123") < page.index("2.5820") < page.index("2.9510") < page.index("4.0875")
    assert "lower is better" in page
    assert "Best validation: 3.8750 at step 5" in page
    assert "spec: digits" in page
    assert "glowkit train --config run/config.yaml" in page


def test_text_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('&')</script>"
    page = report(
        tmp_path / "run <b>",
        settings={"data": {"spec": evil}},
        sheets=[(evil, tmp_path / "run <b>" / "samples" / "sheet.png")],
        baselines={evil: 1.0},
        command=evil,
    )
    assert "<script" not in page
    assert "<b>" not in page
    assert page.count("&lt;script&gt;alert(") == 5


@pytest.mark.parametrize("metrics", [None, "", METRICS.splitlines()[0] + "\n"])
def test_does_without_curves_sheets_and_baselines(tmp_path: Path, metrics: str | None) -> None:
    one_image = FIGURES | {"images": 1, "standard_error": float("nan")}
    page = report(tmp_path / "run", metrics, figures=one_image, sheets=[], baselines=None)
    assert not inlined(page)
    assert "nan" not in page
    assert "baseline" not in page
    assert "There are no training curves" in page
    assert "There is no sample sheet" in page


def test_draws_what_there_is_of_the_curves(tmp_path: Path) -> None:
    torn = METRICS + "6,0.6,3."
    assert len(inlined(report(tmp_path / "torn", torn))) == 2
    all_skipped = METRICS.splitlines()[0] + "\n1,0.1,nan,,\n"
    assert len(inlined(report(tmp_path / "skipped", all_skipped))) == 2


def test_a_missing_sheet_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(GlowkitError, match=r"gone\.png"):
        report(tmp_path / "run", sheets=[("gone", tmp_path / "gone.png")])
