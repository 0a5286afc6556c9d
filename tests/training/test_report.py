"""report.html: whole, self-contained and safe to open."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from glowkit import GlowkitError
from glowkit.pictures.sheet import image_sheet, save_png
from glowkit.training.report import Origin, write_report

FIGURES: dict[str, Any] = {
    "split": "test",
    "bits_per_dim": 2.31234,
    "standard_error": 0.01234,
    "images": 300,
    "levels": 17,
    "importance_samples": 16,
    "largest_pixel_error": 0,
}
IMAGES = torch.tensor([[[[0, 1], [1, 1]]], [[[1, 0], [0, 0]]]])
SHEET = image_sheet([("T = 1", IMAGES)], 2, numbers=[["2.50", "3.25"]])
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
    save_png(SHEET, sheet)
    origin = {
        "settings": {"data": {"spec": "digits"}, "model": {"image_shape": (1, 8, 8)}},
        "commands": [("The same again:", "glowkit train --config run/config.yaml")],
        "facts": {"parameters": "166,276"},
        "start": "the preset glow-tiny",
        "changed": [("steps", "4", "8")],
    }
    arguments: dict[str, Any] = {
        "title": run.name,
        "figures": FIGURES,
        "sheets": [("step 5", sheet)],
        "curves": curves,
        "baselines": {"Gaussian": 2.951, "mixture of 10 Gaussians": 2.582},
    }
    origin |= {name: changes.pop(name) for name in [*changes] if name in origin}
    arguments |= {"origin": Origin(**origin)}
    path = write_report(run / "report.html", **(arguments | changes))
    assert path == run / "report.html"
    return path.read_text()


def inlined(page: str) -> list[bytes]:
    return [base64.b64decode(data) for data in re.findall(r"data:image/png;base64,([^\"]+)", page)]


def test_holds_everything_and_links_to_nothing(tmp_path: Path) -> None:
    page = report(tmp_path / "run")
    assert page.count("<svg viewBox") == 1
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)', page))
    assert not re.search(r"https?:|url\(|@import|<script", page)
    links = re.findall(r'href="([^"]*)"', page)
    assert links
    assert all(f'id="{link[1:]}"' in page for link in links)


def test_images_stand_at_their_own_pixels_with_their_labels_and_numbers_as_text(
    tmp_path: Path,
) -> None:
    page = report(tmp_path / "run")
    first, second = inlined(page)
    for png, image in zip((first, second), IMAGES, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), image[0].numpy() * 255)
    assert '<p class="label">T = 1</p>' in page
    assert re.search(r'alt="Sample sheet: step 5, T = 1, 2">3.25<', page)


def test_a_picture_that_says_nothing_of_its_images_is_shown_whole(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    Image.new("RGB", (9, 9)).save(plain)
    page = report(tmp_path / "run", sheets=[("plain", plain)])
    assert inlined(page) == [plain.read_bytes()]


def test_figures_stand_beside_the_baselines(tmp_path: Path) -> None:
    page = report(tmp_path / "run")
    for text in ("2.3123 ± 0.0123", "<td>300</td>", "<td>17</td>", "<td>16</td>", "<td>0</td>"):
        assert text in page
    order = [page.index(f"<td>{text}") for text in ("≤ 2.3123", "2.5820", "2.9510", "4.0875")]
    assert order == sorted(order)
    assert "≤ 2.312 ± 0.012 bits/dim, 0.27 below the best baseline" in page
    assert "lower is better" in page
    assert "Best validation: 3.8750 at step 5, whose weights were kept" in page
    assert re.search(r"batches of training, step 5</th><td>≤ 3.7500", page)
    assert "spec: digits" in page
    assert "glowkit train --config run/config.yaml" in page
    assert re.search(r"differs from the preset glow-tiny", page)
    assert re.search(r'steps</th><td class="text">4</td><td class="text">8<', page)


def test_the_headline_says_where_a_model_stands(tmp_path: Path) -> None:
    alone = report(tmp_path / "alone", baselines=None)
    assert "1.78 below no model at all" in alone
    worse = report(tmp_path / "worse", baselines={"Gaussian": 2.0})
    assert "0.31 above the best baseline" in worse
    exact = report(tmp_path / "exact", figures=FIGURES | {"kind": "exact"})
    assert '<p class="headline">= 2.312' in exact
    lost = report(tmp_path / "lost", figures=FIGURES | {"bits_per_dim": float("nan")})
    assert "nan ± 0.012 bits/dim, and the best baseline 2.582" in lost


def test_text_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('&')</script>"
    page = report(
        tmp_path / "run <b>",
        settings={"data": {"spec": evil}},
        sheets=[(evil, tmp_path / "run <b>" / "samples" / "sheet.png")],
        baselines={evil: 3.0},
        commands=[(evil, evil)],
        facts={evil: evil},
        changed=[(evil, evil, evil)],
    )
    assert "<script" not in page
    assert "<b>" not in page
    assert page.count("&lt;script&gt;alert(") >= 11


@pytest.mark.parametrize("metrics", [None, "", METRICS.splitlines()[0] + "\n"])
def test_does_without_curves_sheets_and_baselines(tmp_path: Path, metrics: str | None) -> None:
    one_image = FIGURES | {"images": 1, "standard_error": float("nan")}
    page = report(tmp_path / "run", metrics, figures=one_image, sheets=[], baselines=None)
    assert not inlined(page)
    assert "nan" not in page
    assert "(baseline)" not in page
    assert "There are no training curves" in page
    assert "There is no sample sheet" in page


def test_draws_what_there_is_of_the_curves(tmp_path: Path) -> None:
    assert 'class="line validation"' in report(tmp_path / "torn", METRICS + "6,0.6,3.")
    all_skipped = METRICS.splitlines()[0] + "\n1,0.1,nan,,\n"
    assert "There are no training curves" in report(tmp_path / "skipped", all_skipped)


def test_a_missing_sheet_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(GlowkitError, match=r"gone\.png"):
        report(tmp_path / "run", sheets=[("gone", tmp_path / "gone.png")])


def test_a_baseline_far_from_the_curves_is_named_and_not_drawn(tmp_path: Path) -> None:
    page = report(tmp_path / "run", baselines={"near": 4.0, "far": 40.0})
    drawn = page[page.index("<svg") : page.rindex("</svg>")]
    assert ">near<" in drawn
    assert ">far<" not in drawn
    assert "what is far from the curves: far." in page


def test_values_are_said_to_be_left_out_of_the_frame_where_some_are(tmp_path: Path) -> None:
    assert "left out of the frame" not in report(tmp_path / "few", baselines={})
    head, *_ = METRICS.splitlines()
    rows = [f"{step},0.1,{9.5 if step == 1 else 3.5},,0.001" for step in range(1, 60)]
    page = report(tmp_path / "many", "\n".join([head, *rows, ""]), baselines={})
    assert "those of the first steps, are left out of the frame." in page
    level = report(tmp_path / "level", "\n".join([head, *rows[1:], ""]), baselines={})
    assert "left out of the frame" not in level
