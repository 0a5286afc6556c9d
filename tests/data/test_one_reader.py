"""One reader for all ways in: a picture has the same pixels, or is refused for the same reason."""

import io
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glowkit import GlowConfig, GlowkitError
from glowkit.app.exhibit import upload
from glowkit.data import open_source, read_picture, to_levels
from glowkit.training import preparation

SIDE = 8
RANDOM = np.random.default_rng(0)


def noise(*shape: int, high: int = 256) -> np.ndarray:
    return RANDOM.integers(0, high, shape)


def coded(image: Image.Image, format: str, **how: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format=format, **how)
    return data.getvalue()


def gray16(value: int) -> Image.Image:
    return Image.fromarray(np.full((SIDE, SIDE), value, np.uint16))


def png16(
    colour_type: int, channels: int, value: int, clear: int | None = None, side: int = SIDE
) -> bytes:
    """A flat PNG of 16 bits a channel, which Pillow cannot write in colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, 16, colour_type, 0, 0, 0)
    rows = (b"\0" + struct.pack(">H", value) * channels * SIDE) * SIDE
    keyed = b"" if clear is None else chunk(b"tRNS", struct.pack(">H", clear) * channels)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + keyed
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def in_mode(mode: str, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    image = Image.fromarray(noise(*size[::-1], 4).astype(np.uint8))
    if mode in ("RGBA", "LA"):
        return image.convert(mode)
    return image.convert("RGB").convert(mode)


def palette_with_clear() -> bytes:
    image = Image.fromarray(noise(SIDE, SIDE, 3).astype(np.uint8)).quantize(16)
    return coded(image, "PNG", transparency=3)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return coded(in_mode("RGB"), "PNG", exif=exif)


def frames(format: str) -> bytes:
    first, *others = (Image.new("RGB", (SIDE, SIDE), (value, 90, 10)) for value in (50, 200, 90))
    return coded(first, format, save_all=True, append_images=others)


GOOD: dict[str, Callable[[], bytes]] = {
    "L": lambda: coded(in_mode("L"), "PNG"),
    "RGB": lambda: coded(in_mode("RGB"), "PNG"),
    "RGBA": lambda: coded(in_mode("RGBA"), "PNG"),
    "LA": lambda: coded(in_mode("LA"), "PNG"),
    "RGBA as WEBP": lambda: coded(in_mode("RGBA"), "WEBP", lossless=True),
    "RGBA as TIFF": lambda: coded(in_mode("RGBA"), "TIFF"),
    "LA as TIFF": lambda: coded(in_mode("LA"), "TIFF"),
    "P": lambda: coded(in_mode("P"), "PNG"),
    "P with a clear colour": palette_with_clear,
    "1": lambda: coded(in_mode("1"), "PNG"),
    "1 as TIFF": lambda: coded(in_mode("1"), "TIFF"),
    "CMYK": lambda: coded(in_mode("CMYK"), "JPEG"),
    "CMYK as TIFF": lambda: coded(in_mode("CMYK"), "TIFF"),
    "YCbCr": lambda: coded(in_mode("YCbCr"), "TIFF", compression="jpeg"),
    "16-bit PNG": lambda: coded(gray16(10000), "PNG"),
    "16-bit TIFF": lambda: coded(gray16(10000), "TIFF"),
    "16-bit TIFF, big-endian": lambda: coded(
        Image.frombytes("I;16B", (SIDE, SIDE), struct.pack(">H", 10000) * SIDE**2), "TIFF"
    ),
    "16-bit PGM": lambda: b"P5 8 8 65535\n" + struct.pack(">H", 10000) * SIDE**2,
    "32-bit integers": lambda: coded(Image.new("I", (SIDE, SIDE), 10000), "TIFF"),
    "16-bit RGB": lambda: png16(2, 3, 10000),
    "16-bit RGBA": lambda: png16(6, 4, 10000),
    "16-bit gray and alpha": lambda: png16(4, 2, 10000),
    "16-bit with a clear gray": lambda: png16(0, 1, 10000, clear=10000),
    "turned": turned,
    "frames of a GIF": lambda: frames("GIF"),
    "frames of a TIFF": lambda: frames("TIFF"),
    "frames of a WEBP": lambda: frames("WEBP"),
    "large": lambda: coded(in_mode("RGB", (40, 25)), "JPEG"),
    "large and 16-bit": lambda: coded(
        Image.fromarray(noise(25, 40, high=65536).astype(np.uint16)), "PNG"
    ),
    "small": lambda: coded(in_mode("RGBA", (3, 5)), "PNG"),
    "PPM": lambda: coded(in_mode("RGB"), "PPM"),
    "BMP": lambda: coded(in_mode("RGB"), "BMP"),
}
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "floats": (lambda: coded(Image.new("F", (SIDE, SIDE), 0.5), "TIFF"), "floating-point pixels"),
    "LAB": (lambda: coded(Image.new("LAB", (SIDE, SIDE)), "TIFF"), "colours of kind LAB"),
    "negative": (lambda: coded(Image.new("I", (SIDE, SIDE), -5), "TIFF"), "outside 0..65535"),
    "millions": (lambda: coded(Image.new("I", (SIDE, SIDE), 10**6), "TIFF"), "outside 0..65535"),
    "a clear 16-bit colour": (lambda: png16(2, 3, 10000, clear=10000), "transparent colour of 16"),
    "nothing": (bytes, "not an image of a known kind"),
    "text": (lambda: b"GIF? no", "not an image of a known kind"),
    "PostScript": (lambda: coded(in_mode("RGB"), "EPS"), "not an image of a known kind"),
    "PCX": (lambda: coded(in_mode("RGB"), "PCX"), "not an image of a known kind"),
    "TGA": (lambda: coded(in_mode("RGBA"), "TGA"), "not an image of a known kind"),
    "a cut PNG": (lambda: coded(in_mode("RGB", (64, 64)), "PNG")[:5000], "truncated"),
    "100,000 pixels a side": (
        lambda: png16(0, 1, 0, side=100_000),
        "decompression bomb",
    ),
}


def by_folder(data: bytes, config: GlowConfig, where: Path) -> torch.Tensor:
    root = where / "folder"
    root.mkdir(parents=True)
    for k in range(3):  # all alike, so that whichever trains will do
        (root / f"{k}.png").write_bytes(data)
    channels, size, _ = config.image_shape
    source = open_source(str(root), size=size, channels=channels, levels=config.pixel_levels)
    return preparation(source, config)(source.splits["test"].__getitems__([0]))[0]


def by_name(data: bytes, config: GlowConfig, where: Path) -> torch.Tensor:
    (where / "a.png").write_bytes(data)
    return read_picture(where / "a.png", config.image_shape, config.pixel_levels).image


def by_upload(data: bytes, config: GlowConfig, where: Path) -> torch.Tensor:
    (where / "a.png").write_bytes(data)
    return upload(where / "a.png", config.image_shape, config.pixel_levels).image


@pytest.mark.parametrize(
    "levels", [2, 17, 256, *(pytest.param(n, marks=pytest.mark.slow) for n in (32, 100))]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", GOOD)
def test_a_picture_has_the_same_pixels_by_every_way(
    tmp_path: Path, kind: str, channels: int, levels: int
) -> None:
    config = GlowConfig((channels, SIDE, SIDE), levels=1, steps=1, width=4, pixel_levels=levels)
    data = GOOD[kind]()
    named = by_name(data, config, tmp_path)
    assert named.shape == (1, channels, SIDE, SIDE)
    assert torch.equal(named, by_upload(data, config, tmp_path))
    if levels != 2 or named.unique().numel() > 1:  # a flat set of 2 levels may be refused
        assert torch.equal(named, by_folder(data, config, tmp_path))


@pytest.mark.parametrize("way", [by_folder, by_name, by_upload])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_picture_is_refused_by_every_way(
    tmp_path: Path, kind: str, channels: int, way: Callable
) -> None:
    data, words = BAD[kind]
    config = GlowConfig((channels, SIDE, SIDE), levels=1, steps=1, width=4)
    with pytest.raises(GlowkitError, match=words) as error:
        way(data(), config, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "channels", "pixel"),
    [
        *((kind, c, 39) for kind in GOOD if kind.startswith("16-bit") for c in (1, 3)),
        ("32-bit integers", 1, 39),
    ],
)
def test_a_flat_ten_thousand_of_65535_is_39_of_255(
    tmp_path: Path, kind: str, channels: int, pixel: int
) -> None:
    config = GlowConfig((channels, SIDE, SIDE), levels=1, steps=1, width=4)
    data = GOOD[kind]()
    image = by_name(data, config, tmp_path)
    alpha = "alpha" in kind or "RGBA" in kind
    if "clear" in kind:
        assert (image == 255).all()
    elif alpha:  # its opacity is 10,000 of 65,535 too, on white
        assert image.unique().tolist() == [222]
    else:
        assert image.unique().tolist() == [pixel]


def test_16_bits_stay_for_a_model_of_so_many_levels(tmp_path: Path) -> None:
    config = GlowConfig((1, SIDE, SIDE), levels=1, steps=1, width=4, pixel_levels=65536)
    data = GOOD["large and 16-bit"]()
    named = by_name(data, config, tmp_path)
    assert torch.equal(named, by_folder(data, config, tmp_path))
    assert named.max() > 40000
    (tmp_path / "other").mkdir()
    for way in (by_name, by_upload, by_folder):
        with pytest.raises(GlowkitError, match="256 levels cannot be brought to 65536"):
            way(GOOD["L"](), config, tmp_path / "other")


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_bands_of_a_large_image_join(tmp_path: Path, mode: str, monkeypatch) -> None:
    image = Image.fromarray(noise(40, 30, 4).astype(np.uint8))
    image = image.convert("RGB").quantize(9) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "a.png", **({"transparency": 2} if mode == "P" else {}))
    whole = read_picture(tmp_path / "a.png", (3, 40, 30), 256).image
    monkeypatch.setattr("glowkit.data.picture.BAND", 7)
    monkeypatch.setattr("glowkit.data.picture.LARGE", 7)
    assert torch.equal(read_picture(tmp_path / "a.png", (3, 40, 30), 256).image, whole)
    with Image.open(tmp_path / "a.png") as opened:
        white = Image.new("RGBA", (30, 40), "white")
        expected = Image.alpha_composite(white, opened.convert("RGBA")).convert("RGB")
    assert (whole[0].permute(1, 2, 0).numpy() == np.asarray(expected)).all()


def test_a_folder_of_mixed_depths_serves_a_model_of_8_bits(folder: Path, save: Callable) -> None:
    save("a.png", "L")
    save("b.png", "I;16")
    save("c.png", "RGB")
    source = open_source(str(folder), size=8, channels=3, levels=256)
    assert source.image_shape == (3, 8, 8)
    assert source.pixel_levels == 256
    assert "1 image(s) with 16 bits a colour read at 8 bits" in source.notes


@pytest.mark.parametrize("given", [256, 17, 65536])
@pytest.mark.parametrize("levels", [2, 3, 5, 17, 32, 48, 255, 256])
def test_levels_are_floored_where_they_divide_and_else_the_nearest(given: int, levels: int) -> None:
    if levels > given:
        return
    values = torch.arange(given)
    found = to_levels(values, given, levels)
    eight, most = (values // 256, 256) if given == 65536 else (values, given)
    if most % levels == 0:
        expected = eight * levels // most
    else:
        expected = (eight.double() * (levels - 1) / (most - 1) + 1e-9).round().long()
    assert torch.equal(found.long(), expected)
    assert (found.min(), found.max()) == (0, levels - 1)


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(GOOD["RGBA"]())
    notes = read_picture(tmp_path / "a.png", (1, SIDE, SIDE), 17).notes
    assert "transparency composited on white" in notes[0]
    assert re.search(
        r"a\.png: pixels of 256 levels are moved to the nearest of 17; the largest change is"
        r" [5-8] of 255",
        notes[1],
    )
    assert "floor(v / 8)" in read_picture(tmp_path / "a.png", (1, 8, 8), 32).notes[1]
    (tmp_path / "b.png").write_bytes(GOOD["16-bit PNG"]())
    assert "16 bits" in read_picture(tmp_path / "b.png", (3, 8, 8), 256).notes[0]
    (tmp_path / "c.png").write_bytes(GOOD["RGB"]())
    assert read_picture(tmp_path / "c.png", (3, 8, 8), 256).notes == ()


def test_a_folder_for_a_model_of_17_levels_says_so(folder: Path, save: Callable) -> None:
    for k in range(3):
        save(f"{k}.png", "L")
    source = open_source(str(folder), levels=17)
    assert source.pixel_levels == 17
    assert source.notes == (
        "pixels of 256 levels are moved to the nearest of 17; by at most 8 of 255",
    )
    images, _ = source.splits["train"].__getitems__([0])
    assert images.dtype == torch.uint8
    pixels = torch.from_numpy(
        np.array(source.splits["train"].images[source.splits["train"].indices])
    )
    assert torch.equal(images, to_levels(pixels[:1], 256, 17))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, loop, device])
def test_what_is_no_file_is_not_opened(folder: Path, save: Callable, make: Callable) -> None:
    for k in range(3):
        save(f"{k}.png")
    make(folder / "x.png")
    with pytest.raises(GlowkitError, match=r"x\.png cannot be read"):
        open_source(str(folder))
    assert len(open_source(str(folder), skip_bad=True).files) == 3
    with pytest.raises(GlowkitError, match=r"no such image file|not a regular file"):
        read_picture(folder / "x.png", (3, 8, 8), 256)
    with pytest.raises(GlowkitError, match=r"neither a file nor a folder|no such file"):
        open_source(str(folder / "x.png"))


def test_broken_images_of_all_kinds_are_told_of_together(folder: Path, save: Callable) -> None:
    for k in range(9):
        save(f"{k}.png", "L", size=(64, 64))
    (folder / "1.png").unlink()
    (folder / "1.png").symlink_to("nowhere")
    (folder / "2.png").write_bytes(BAD["floats"][0]())
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:3000])
    (folder / "4.png").write_bytes((folder / "4.png").read_bytes()[:3007])
    (folder / "5.png").write_bytes(b"")
    with pytest.raises(GlowkitError) as error:
        open_source(str(folder))
    said = str(error.value)
    assert said.startswith("5 images cannot be read: ")
    for words in ("1.png", "floating-point", "truncated", "(2: ", "5.png", "pass --skip-bad"):
        assert words in said
    notes = open_source(str(folder), skip_bad=True).notes
    assert notes[0].startswith("5 image(s) skipped: 5 images cannot be read")


def test_broken_and_unlike_images_are_told_of_together(folder: Path, save: Callable) -> None:
    save("0.png", "L")
    save("1.png", "I;16", size=(9, 8))
    (folder / "2.png").write_bytes(b"")
    with pytest.raises(GlowkitError) as error:
        open_source(str(folder))
    for words in ("2.png cannot be read", "1.png is a 16-bit", "differ in size", "besides"):
        assert words in str(error.value)


def test_a_name_with_a_line_break_stays_in_one_sentence(folder: Path, save: Callable) -> None:
    for k in range(3):
        save(f"{k}.png")
    (folder / "bad\nname\udcff.png").write_bytes(b"")
    with pytest.raises(GlowkitError, match=r"bad\\nname\\udcff\.png cannot be read") as error:
        open_source(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "~nobody-of-this-name/a.png", "\0"])
def test_a_name_that_cannot_be_is_a_sentence(name: str) -> None:
    with pytest.raises(GlowkitError, match="no such"):
        open_source(name)
    with pytest.raises(GlowkitError, match="no such image file"):
        read_picture(Path(name), (1, 8, 8), 256)
