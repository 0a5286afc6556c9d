"""Images that cannot be decoded: named, or skipped and counted."""

import numpy as np
import pytest
from PIL import Image

from glowkit.data import open_source
from glowkit.system.errors import GlowkitError


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def write_text(path):
    path.write_text("this is no image")


def empty(path):
    path.write_bytes(b"")


def float_pixels(path):
    Image.fromarray(np.zeros((64, 64), np.float32)).save(path, format="TIFF")


def dangling(path):
    path.unlink()
    path.symlink_to(path.parent / "nowhere.png")


DAMAGES = [cut_in_half, flip_a_byte, write_text, empty, float_pixels, dangling]


@pytest.fixture(params=DAMAGES, ids=lambda damage: damage.__name__)
def damaged(request, folder, save):
    for k in range(5):
        save(f"{k}.png", size=(64, 64))
    request.param(folder / "2.png")
    return folder


def test_bad_image_is_named(damaged, cache):
    with pytest.raises(GlowkitError, match=r"2\.png cannot be read \(.*--skip-bad") as error:
        open_source(str(damaged))
    assert "\n" not in str(error.value)
    assert list(cache.iterdir()) == []


def test_bad_image_is_skipped_and_counted(damaged):
    source = open_source(str(damaged), skip_bad=True)
    assert sum(map(len, source.splits.values())) == 4
    assert source.notes[0].startswith("1 image(s) skipped")
    assert "2.png" in source.notes[0]
    assert open_source(str(damaged), skip_bad=True).notes == source.notes


def test_pack_with_skipped_images_is_not_used_without_skip_bad(damaged):
    open_source(str(damaged), skip_bad=True)
    with pytest.raises(GlowkitError, match=r"2\.png cannot be read"):
        open_source(str(damaged))


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".gif", ".bmp", ".tiff"])
def test_truncated_in_every_format(folder, save, suffix):
    for k in range(3):
        save(f"{k}{suffix}", size=(64, 64))
    cut_in_half(folder / f"1{suffix}")
    with pytest.raises(GlowkitError, match=rf"1\{suffix} cannot be read"):
        open_source(str(folder))


def test_too_few_left(damaged):
    (damaged / "0.png").unlink()
    (damaged / "1.png").unlink()
    with pytest.raises(GlowkitError, match="after skipping 1, has only 2 image"):
        open_source(str(damaged), skip_bad=True)


def test_none_left(folder, save):
    for k in range(3):
        empty(save(f"{k}.png"))
    with pytest.raises(GlowkitError, match=r"none of the 3 images.*0\.png"):
        open_source(str(folder), skip_bad=True)


@pytest.mark.parametrize("limit", [3000, 1500], ids=["warning", "error"])
def test_decompression_bomb(folder, save, monkeypatch, limit):
    for k in range(3):
        save(f"{k}.png", size=(8, 8))
    save("bomb.png", size=(60, 60))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(GlowkitError, match=r"bomb\.png cannot be read \(.*decompression bomb"):
        open_source(str(folder), size=8)
    assert sum(map(len, open_source(str(folder), size=8, skip_bad=True).splits.values())) == 3
