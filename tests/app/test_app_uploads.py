"""Uploads: what the page shows comes back as it was, and what is wrong is told in a sentence."""

from html import unescape
from pathlib import Path

import pytest
import torch
from PIL import Image

from glowkit import GlowkitError
from glowkit.app import exhibit as uploads
from glowkit.app.answers import shown, uploaded
from glowkit.app.exhibit import Exhibit, upload
from glowkit.pictures.sheet import to_pil


def test_a_saved_image_comes_back(exhibit: Exhibit, tmp_path: Path) -> None:
    to_pil(exhibit.images[3], exhibit.levels).save(tmp_path / "a.png")
    label = exhibit.class_names[0] if exhibit.class_names else ""
    assert torch.equal(
        uploaded(exhibit, str(tmp_path / "a.png"), label).image[0], exhibit.images[3]
    )


@pytest.mark.parametrize("levels", [2, 17, 32, 256])
def test_every_level_comes_back(levels: int, tmp_path: Path) -> None:
    image = torch.arange(256).reshape(1, 16, 16) % levels
    to_pil(image, levels).save(tmp_path / "a.png")
    assert torch.equal(upload(tmp_path / "a.png", (1, 16, 16), levels).image[0].long(), image)


@pytest.mark.parametrize(("mode", "size"), [("RGB", (40, 30)), ("L", (3, 3)), ("RGBA", (8, 8))])
def test_other_sizes_and_colours_are_brought_to_the_models(
    exhibit: Exhibit, mode: str, size: tuple[int, int], tmp_path: Path
) -> None:
    Image.new(mode, size, 255 if mode == "L" else "white").save(tmp_path / "a.png")
    image = upload(tmp_path / "a.png", exhibit.image_shape, exhibit.levels).image
    assert image.shape == (1, *exhibit.image_shape)
    assert (image == exhibit.levels - 1).all()


def _text(path: Path) -> None:
    path.write_text("not an image")


def _empty(path: Path) -> None:
    path.touch()


def _cut(path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(path, format="PNG")
    path.write_bytes(path.read_bytes()[:900])


def _many_pixels(path: Path) -> None:
    Image.new("1", (5000, 5000)).save(path, format="PNG")


@pytest.mark.parametrize("make", [_text, _empty, _cut, _many_pixels])
def test_a_bad_file_is_a_sentence(digits: Exhibit, make: object, tmp_path: Path) -> None:
    path = tmp_path / "bad.png"
    make(path)
    with pytest.raises(GlowkitError, match=r"^bad\.png (is|cannot)"):
        uploaded(digits, str(path), "")


def test_what_an_upload_lost_is_said_below_it(digits: Exhibit, tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9), (200, 10, 10, 100)).save(tmp_path / "a<b>.png")
    answer = shown(digits, uploaded(digits, str(tmp_path / "a<b>.png"), ""))
    assert "<b>" not in answer
    said = unescape(answer)
    assert "a<b>.png: an image with transparency composited on white" in said
    assert "256 levels are moved to the nearest of 17; the largest change is" in said


def test_an_error_of_float32_is_explained(
    digits: Exhibit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coarse = digits.images[:1].flip(2)
    monkeypatch.setattr("glowkit.app.answers.rebuild", lambda *_: (coarse, torch.tensor([False])))
    to_pil(digits.images[0], digits.levels).save(tmp_path / "a.png")
    answer = shown(digits, uploaded(digits, str(tmp_path / "a.png"), ""))
    assert "In float64 it is 0" in answer


def test_a_large_file_is_a_sentence(
    digits: Exhibit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_BYTES", 1000)
    (tmp_path / "bad.png").write_bytes(bytes(1001))
    with pytest.raises(GlowkitError, match="at most"):
        uploaded(digits, str(tmp_path / "bad.png"), "")
