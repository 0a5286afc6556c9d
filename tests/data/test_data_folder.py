"""Folders of images: formats, labels, resizing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glowkit.data import Source, open_source
from glowkit.system.errors import GlowkitError


def pixels_by_row(source: Source) -> np.ndarray:
    """All packed images (N, C, H, W), in the order of their sorted paths."""
    return np.asarray(source.splits["train"].images)


@pytest.mark.parametrize(
    ("suffix", "mode", "how"),
    [
        (".png", "RGB", {}),
        (".png", "L", {}),
        (".png", "1", {}),
        (".png", "P", {}),
        (".webp", "RGB", {"lossless": True}),
        (".bmp", "RGB", {}),
        (".gif", "L", {}),
        (".tiff", "RGB", {}),
        (".JPG", "RGB", {}),
        (".jpeg", "CMYK", {}),
    ],
)
def test_formats(folder, save, suffix, mode, how):
    files = [save(f"{k}{suffix}", mode, (7, 5), **how) for k in range(3)]
    source = open_source(str(folder))
    channels = 1 if mode in ("L", "1") else 3
    assert source.image_shape == (channels, 5, 7)
    assert source.pixel_levels == 256
    assert source.class_names == ()
    with Image.open(files[1]) as image:
        expected = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(5, 7, -1)
    assert (pixels_by_row(source)[1] == expected.transpose(2, 0, 1)).all()


def test_source_is_memory_mapped_uint8(folder, save):
    for k in range(5):
        save(f"{k}.png")
    source = open_source(str(folder))
    assert isinstance(source.splits["train"].images, np.memmap)
    images, labels = source.splits["train"].__getitems__(slice(0, 2))
    assert images.dtype == torch.uint8
    assert labels.tolist() == [-1, -1]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_grayscale(folder, save, suffix):
    files = [save(f"{k}{suffix}", "I;16") for k in range(3)]
    source = open_source(str(folder))
    assert source.pixel_levels == 65536
    assert source.image_shape == (1, 8, 8)
    with Image.open(files[0]) as image:
        assert (pixels_by_row(source)[0, 0] == np.asarray(image)).all()
    assert source.splits["train"][0][0].dtype == torch.int32


def test_16_bit_is_resized_without_losing_depth(folder):
    for k in range(3):
        deep = np.full((12, 8), 40000 + k, dtype=np.uint16)
        Image.fromarray(deep).save(folder / f"{k}.png")
    source = open_source(str(folder), size=4)
    assert pixels_by_row(source)[:, 0, 0, 0].tolist() == [40000, 40001, 40002]


def test_16_bit_colour_is_read_at_8_bits_with_a_note(folder, save):
    for k in range(2):
        save(f"{k}.png", size=(2, 2))
    (folder / "deep.png").write_bytes(png_16_bit_rgb())
    source = open_source(str(folder))
    assert source.pixel_levels == 256
    assert source.notes == ("1 image(s) with 16 bits a colour read at 8 bits",)


def png_16_bit_rgb() -> bytes:
    """A 2x2 PNG of 16 bits a colour, which Pillow itself cannot write."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    rows = (b"\0" + bytes(range(12))) * 2
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
def test_exif_rotation_is_applied(folder, suffix):
    upright = np.zeros((16, 32), dtype=np.uint8)
    upright[:, 16:] = 255  # white on the right
    stored = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 270 degrees
    for k in range(3):
        stored.save(folder / f"{k}{suffix}", exif=exif)
    source = open_source(str(folder), channels=1)
    assert source.image_shape == (1, 16, 32)
    found = pixels_by_row(source)[0, 0].astype(int)
    assert (abs(found - upright)[:, [0, 1, 30, 31]] < 10).all()


@pytest.mark.parametrize(
    ("mode", "channels"), [("RGBA", 3), ("LA", 1)], ids=["colour", "grayscale"]
)
def test_transparency_is_composited_on_white(folder, save, mode, channels):
    save("opaque.png", mode)
    save("other.png", mode[:-1])
    clear = Image.new(mode, (8, 8), (10,) * (len(mode) - 1) + (0,))
    clear.save(folder / "clear.png")
    source = open_source(str(folder))
    assert source.image_shape == (channels, 8, 8)
    assert (pixels_by_row(source)[0] == 255).all()
    assert source.notes == ("1 image(s) with transparency composited on white",)


def test_transparent_palette_entry_is_white(folder, save):
    save("a.png")
    save("b.png")
    Image.new("P", (8, 8), 0).save(folder / "clear.png", transparency=0)
    source = open_source(str(folder))
    assert (pixels_by_row(source)[2] == 255).all()


def test_four_channels_keep_alpha(folder, save):
    save("a.png", "RGBA")
    save("b.png")
    Image.new("RGBA", (8, 8), (1, 2, 3, 4)).save(folder / "c.png")
    source = open_source(str(folder), channels=4)
    assert source.image_shape == (4, 8, 8)
    assert pixels_by_row(source)[2, :, 0, 0].tolist() == [1, 2, 3, 4]
    assert (pixels_by_row(source)[1, 3] == 255).all()
    assert source.notes == ()


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 1), ("L", 3)])
def test_channels_override(folder, save, mode, channels):
    for k in range(3):
        save(f"{k}.png", mode)
    assert open_source(str(folder), channels=channels).image_shape == (channels, 8, 8)


def test_size_crops_the_centre(folder, save):
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 200
    Image.fromarray(wide).save(folder / "a.png")
    save("b.png", size=(17, 40))
    save("small.png", size=(4, 4))
    source = open_source(str(folder), size=10)
    assert source.image_shape == (3, 10, 10)
    assert (pixels_by_row(source)[0] == 200).all()
    assert source.notes == ("1 image(s) smaller than --size and enlarged",)


def test_first_frame_of_an_animation(folder, save):
    save("a.png", "L")
    save("b.png", "L")
    frames = [Image.new("L", (8, 8), value) for value in (50, 90)]
    frames[0].save(folder / "c.gif", save_all=True, append_images=frames[1:])
    source = open_source(str(folder), channels=1)
    assert (pixels_by_row(source)[2] == 50).all()
    assert source.notes == ("1 image(s) with several frames, of which only the first is used",)


def test_subfolders_are_labels(folder, save):
    for k in range(4):
        save(f"zebra/{k}.png")
        save(f"deep/ant/{k}.png")
    source = open_source(str(folder))
    assert source.class_names == ("ant", "zebra")
    assert source.splits["train"].labels.tolist() == [0] * 4 + [1] * 4


def test_images_outside_class_folders_leave_no_labels(folder, save):
    save("stray.png")
    for k in range(3):
        save(f"ant/{k}.png")
    source = open_source(str(folder))
    assert source.class_names == ()
    assert source.notes == ("1 image(s) lie in no class folder, so there are no labels",)


def test_other_files_are_counted_and_hidden_ones_passed_over(folder, save):
    for k in range(3):
        save(f"{k}.png")
    (folder / "labels.csv").write_text("x")
    (folder / "._0.png").write_text("x")
    (folder / ".git").mkdir()
    (folder / ".git" / "x.png").write_text("x")
    source = open_source(str(folder))
    assert source.notes == (
        "1 file(s) ignored for not being named as images, the first labels.csv",
    )
    assert len(pixels_by_row(source)) == 3


def test_link_to_the_parent_is_not_followed_for_ever(folder, save):
    for k in range(3):
        save(f"a/{k}.png")
    (folder / "a" / "up").symlink_to(folder, target_is_directory=True)
    assert len(pixels_by_row(open_source(str(folder)))) == 3


def test_sizes_differ(folder, save):
    save("a.png")
    save("b.png", size=(9, 8))
    save("c.png")
    with pytest.raises(GlowkitError, match=r"a\.png is 8x8 and .*b\.png is 9x8; pass --size"):
        open_source(str(folder))


def test_depths_differ(folder, save):
    save("a.png", "L")
    save("b.png", "I;16")
    save("c.png", "L")
    with pytest.raises(GlowkitError, match=r"b\.png is a 16-bit .*a\.png is not"):
        open_source(str(folder))


def test_16_bit_has_one_channel(folder, save):
    for k in range(3):
        save(f"{k}.png", "I;16")
    with pytest.raises(GlowkitError, match=r"0\.png is a 16-bit .* leave out --channels 3"):
        open_source(str(folder), channels=3)


def test_relative_folder(folder: Path, save, monkeypatch):
    for k in range(3):
        save(f"{k}.png")
    monkeypatch.chdir(folder.parent)
    assert open_source("images").name == "images"
