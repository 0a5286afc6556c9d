"""Image sheets: the right colours in the right places."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from glowkit.pictures.layout import KEY, png_of, taken_apart
from glowkit.pictures.sheet import (
    GAP,
    HATCH_INK,
    HATCH_PAPER,
    MARGIN,
    PAPER,
    hatched,
    image_sheet,
    save_gif,
    save_png,
    to_pil,
)
from glowkit.system.errors import GlowkitError


def ramp(channels: int, levels: int) -> Tensor:
    """One image (channels, 2, 2) that uses the whole range, each channel differently."""
    values = torch.arange(channels * 4).reshape(channels, 2, 2)
    return values * (levels - 1) // max(channels * 4 - 1, 1)


@pytest.mark.parametrize("levels", [2, 17, 256, 65536])
def test_the_range_becomes_black_to_white(levels: int) -> None:
    image = torch.tensor([[[0, levels - 1]]])
    assert to_pil(image, levels).tobytes() == b"\x00\xff"


def test_256_levels_are_shown_as_they_are() -> None:
    image = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    assert to_pil(image, 256).tobytes() == bytes(range(256))


def test_levels_are_rounded_not_cut() -> None:
    shown = list(to_pil(torch.arange(17)[None, None], 17).tobytes())
    assert shown == [round(x * 255 / 16 + 1e-9) for x in range(17)]


@pytest.mark.parametrize(
    ("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (4, "RGBA"), (5, "L")]
)
def test_channels(channels: int, mode: str) -> None:
    image = ramp(channels, 256)
    shown = to_pil(image, 256)
    assert (shown.mode, shown.size) == (mode, (2, 2))
    kept = image if channels in (3, 4) else image[:1]
    assert shown.tobytes() == bytes(kept.permute(1, 2, 0).flatten().tolist())


def test_every_pixel_becomes_a_square_in_its_place() -> None:
    images = torch.stack([ramp(3, 256), ramp(3, 256).flip(1)])
    sheet = image_sheet([("", images), ("", images.flip(0))], levels=256, scale=5)
    step = 2 * 5 + GAP
    assert sheet.size == (2 * MARGIN + step + 10, 2 * MARGIN + step + 10)
    for row, ordered in enumerate((images, images.flip(0))):
        for column, image in enumerate(ordered):
            for y in range(2):
                for x in range(2):
                    corner = (MARGIN + column * step + 5 * x, MARGIN + row * step + 5 * y)
                    colours = {
                        sheet.getpixel((corner[0] + i, corner[1] + j))
                        for i in range(5)
                        for j in range(5)
                    }
                    assert colours == {tuple(image[:, y, x].tolist())}
    assert sheet.getpixel((MARGIN + 10, MARGIN)) == PAPER


def test_transparent_is_white() -> None:
    clear = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    sheet = image_sheet([("", clear)], levels=256)
    assert sheet.getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize(("side", "tile"), [(8, 56), (28, 56), (32, 64), (64, 64), (100, 100)])
def test_small_images_are_enlarged_by_whole_pixels(side: int, tile: int) -> None:
    images = torch.zeros(1, 1, side, side, dtype=torch.uint8)
    assert image_sheet([("", images)], levels=2).size == (tile + 2 * MARGIN, tile + 2 * MARGIN)


def test_labels_stand_in_a_margin_of_their_own() -> None:
    black = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    plain = image_sheet([("", black)], levels=17)
    labelled = image_sheet([("T = 0.7", black), ("T = 1", black)], levels=17)
    margin = labelled.width - plain.width
    assert margin > 40
    label = labelled.crop((0, 0, MARGIN + margin, labelled.height))
    assert label.getextrema()[0][0] < 100  # ink
    assert label.crop((0, 0, 2, labelled.height)).getextrema() == ((255, 255),) * 3
    images = labelled.crop((MARGIN + margin, 0, labelled.width, MARGIN + 56))
    assert images.tobytes() == plain.crop((MARGIN, 0, plain.width, MARGIN + 56)).tobytes()


def test_rows_may_differ_in_length_and_size() -> None:
    tall, small = torch.zeros(1, 3, 64, 64).byte(), torch.zeros(4, 1, 32, 16).byte()
    sheet = image_sheet([("", tall), ("", small)], levels=256)
    assert sheet.size == (2 * MARGIN + 4 * 64 + 3 * GAP, 2 * MARGIN + 64 + GAP + 32)


def test_saved_and_read_back(tmp_path: Path) -> None:
    sheet = image_sheet([("T = 1", torch.ones(2, 1, 8, 8, dtype=torch.int64))], levels=17)
    path = tmp_path / "new" / "sheet.png"
    save_png(sheet, path)
    with Image.open(path) as read:
        assert read.tobytes() == sheet.tobytes()


def test_unwritable_path_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GlowkitError, match=r"cannot write .*sheet\.png: a file stands where"):
        save_png(Image.new("L", (1, 1)), tmp_path / "file" / "sheet.png")


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (torch.zeros(1, 2, 2), "holds integers, not torch.float32"),
        (torch.full((1, 2, 2), 17), "values from 17 to 17, outside 0..16"),
        (torch.full((1, 2, 2), -1), "values from -1 to -1"),
        (torch.zeros(2, 2, dtype=torch.int64), r"shape \(C, H, W\), not \(2, 2\)"),
    ],
)
def test_bad_images_in_one_sentence(image: Tensor, sentence: str) -> None:
    with pytest.raises(GlowkitError, match=sentence):
        to_pil(image, levels=17)


def test_no_rows_in_one_sentence() -> None:
    with pytest.raises(GlowkitError, match="at least one row"):
        image_sheet([], levels=17)


def test_headings_stand_above_their_columns() -> None:
    images = torch.zeros(2, 1, 4, 4, dtype=torch.int64)
    plain = image_sheet([("", images)], levels=2)
    headed = image_sheet([("", images)], levels=2, headings=["1st", "2nd"])
    assert headed.width == plain.width
    added = headed.height - plain.height
    assert added > 0
    assert headed.crop((0, added, *headed.size)).tobytes() == plain.tobytes()
    middle = headed.width // 2
    for left, right in ((0, middle), (middle, headed.width)):
        colours = headed.crop((left, 0, right, added)).getcolors()
        assert colours is not None
        assert len(colours) > 1


def test_an_animation_goes_there_and_back(tmp_path: Path) -> None:
    shades = torch.tensor([0, 8, 16])[:, None, None, None].expand(3, 1, 8, 8)
    save_gif(shades, 17, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as gif:
        shown = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            shown.append(gif.convert("L").getpixel((50, 50)))
        assert gif.size == (224, 224)
    assert shown == [0, 128, 255, 128]


def test_broken_images_are_hatched_and_others_as_they_are(tmp_path: Path) -> None:
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    broken = torch.tensor([False, True, False])
    whole = np.asarray(image_sheet([("", images)], levels=17)).astype(int)
    marked = np.asarray(image_sheet([("", images)], levels=17, broken=[broken])).astype(int)
    tile = 56
    starts = [8 + (tile + 2) * column for column in range(3)]
    for start, lost in zip(starts, broken.tolist(), strict=True):
        cell = marked[8 : 8 + tile, start : start + tile]
        assert np.array_equal(cell, whole[8 : 8 + tile, start : start + tile]) is not lost
        assert (cell.sum(2) > 0).all() == lost  # no black
    save_gif(images, 17, tmp_path / "a.gif", broken=broken)
    with Image.open(tmp_path / "a.gif") as film:
        bright = []
        for frame in range(film.n_frames):
            film.seek(frame)
            bright.append(np.asarray(film.convert("RGB")).max() > 0)
    assert bright == [False, True, False, True]


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (3, 200), (256, 256)])
def test_hatching_has_two_colours_at_any_size(size: tuple[int, int]) -> None:
    tile = hatched(*size)
    assert tile.size == size
    colours = {colour for _, colour in tile.getcolors()}
    assert colours <= {HATCH_PAPER, HATCH_INK}
    assert len(colours) == 2 or size == (1, 1)


def test_a_sheet_says_where_its_images_lie(tmp_path: Path) -> None:
    tall = torch.arange(2 * 3 * 12 * 5).reshape(2, 3, 12, 5) % 256
    gray = torch.arange(3 * 16).reshape(3, 1, 4, 4) % 17
    lost = [torch.zeros(2, dtype=torch.bool), torch.tensor([False, True, False])]
    for images, levels in ((tall, 256), (gray, 17)):
        path = tmp_path / "sheet.png"
        rows = [("a", images), ("", images.flip(0))]
        broken = [lost[0] if len(images) == 2 else lost[1]] * 2
        numbers = [[f"{n}" for n in range(len(images))]] * 2
        save_png(image_sheet(rows, levels, broken=broken, numbers=numbers), path)
        first, second = taken_apart(path.read_bytes())
        assert (first.label, second.label) == ("a", "")
        for tile, image, mark in zip(first.tiles, images, broken[0].tolist(), strict=True):
            assert (tile.width, tile.height) == (image.shape[2], image.shape[1])
            assert (tile.png is None) == mark
            if tile.png is not None:
                drawn = Image.open(io.BytesIO(tile.png))
                assert drawn.tobytes() == to_pil(image, levels).tobytes()
        assert [tile.number for tile in second.tiles] == numbers[0]


DAMAGED_LAYOUTS = {
    "no JSON": "[",
    "no rows": "3",
    "no row": '[{"label": 3}]',
    "beyond": '[{"label": "", "corners": [[90, 0]], "size": [20, 20]}]',
    "negative": '[{"label": "", "corners": [[-1, 0]], "size": [2, 2]}]',
    "no scale": '[{"label": "", "corners": [[0, 0]], "size": [2, 2], "scale": 0}]',
    "of no size": '[{"label": "", "corners": [[0, 0]], "size": [0, 2]}]',
    "text": '[{"label": "", "corners": [["a", 0]], "size": [2, 2]}]',
    "nested": "[" * 100_000,
}


@pytest.mark.parametrize("said", DAMAGED_LAYOUTS.values(), ids=DAMAGED_LAYOUTS.keys())
def test_a_wrong_layout_is_none(said: str) -> None:
    sheet = Image.new("RGB", (100, 100))
    sheet.info[KEY] = said
    assert taken_apart(png_of(sheet)) == []
    assert taken_apart(b"no picture") == []
