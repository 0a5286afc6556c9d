"""Image sheets: labelled rows of small images, enlarged so that a person can read them."""

from __future__ import annotations  # PIL's types are named without importing it

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from glowkit.pictures.layout import Place, with_layout
from glowkit.pictures.layout import png_of as png_of
from glowkit.system.errors import GlowkitError
from glowkit.system.files import replacing, write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image


TILE = 56  # pixels: the side that small images are enlarged to, about
GAP = 2  # pixels between tiles
MARGIN = 8  # pixels around the sheet, and between a label and its row
FONT_SIZE = 15  # pixels
FRAME = 80  # milliseconds of an animation
PAPER, INK = (255, 255, 255), (34, 34, 34)
HATCH_PAPER, HATCH_INK = (252, 240, 238), (205, 70, 55)


def image_sheet(
    rows: Sequence[tuple[str, Tensor]],
    levels: int,
    scale: int | None = None,
    headings: Sequence[str] = (),
    broken: Sequence[Tensor] = (),
    numbers: Sequence[Sequence[str]] = (),
) -> Image:
    """Draw one labelled row per (label, images), the images (N, C, H, W) integers in 0..levels-1.

    Each pixel becomes a square of `scale` pixels; without `scale`, tiles are about 56 pixels wide.
    Without any label there is no margin for labels, nor one above the first row without `headings`,
    one for each column. Colours are those of `to_pil`; RGBA is laid on
    white. broken: for each row, which of its images, (N,) bool, could not be computed and are
    hatched; by default none. numbers: for each row, what a page that shows the images one by one
    says under each; it is not drawn. The sheet says where its images lie, see `taken_apart`.
    Raises GlowkitError for no rows and for images that are not integers in the range.

    >>> digits = torch.arange(2 * 64).reshape(2, 1, 8, 8) % 17
    >>> image_sheet([("", digits), ("", digits)], levels=17).size
    (130, 130)
    """
    from PIL import Image, ImageDraw, ImageFont

    if not rows:
        raise GlowkitError("an image sheet needs at least one row of images")
    masks = [mask.tolist() for mask in broken] or [[False] * len(images) for _, images in rows]
    tiles = [(label, [to_pil(image, levels) for image in images]) for label, images in rows]
    widest = max((t.width for _, row in tiles for t in row), default=1)
    tallest = max((t.height for _, row in tiles for t in row), default=1)
    scale = scale or enlargement(widest, tallest)

    font = ImageFont.load_default(size=FONT_SIZE)
    labels = max(font.getbbox(label)[2] for label, _ in tiles)
    left = round(labels) + 2 * MARGIN if labels else MARGIN
    heights = [max((t.height * scale for t in row), default=FONT_SIZE) for _, row in tiles]
    columns = max(len(row) for _, row in tiles)
    width = left + columns * (widest * scale + GAP) - GAP + MARGIN
    head = FONT_SIZE + MARGIN if headings else 0
    height = head + MARGIN + sum(heights) + GAP * (len(rows) - 1) + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)

    top = MARGIN + head
    for column, heading in enumerate(headings):
        middle = left + column * (widest * scale + GAP) + widest * scale / 2
        pen.text((middle, top - MARGIN), heading, fill=INK, font=font, anchor="ms")
    under = numbers or [()] * len(tiles)
    places = []
    for (label, row), marked, row_height, said in zip(tiles, masks, heights, under, strict=True):
        corners = [(left + column * (widest * scale + GAP), top) for column in range(len(row))]
        lost_ones = [column for column, lost in enumerate(marked) if lost]
        side = (row[0].width * scale, row[0].height * scale) if row else (scale, scale)
        places.append(Place(label, corners, side, scale, said, headings, lost_ones))
        pen.text((left - MARGIN, top + row_height / 2), label, fill=INK, font=font, anchor="rm")
        for column, (tile, lost) in enumerate(zip(row, marked, strict=True)):
            size = (tile.width * scale, tile.height * scale)
            large = hatched(*size) if lost else tile.resize(size, Image.Resampling.NEAREST)
            large = large.convert("RGBA")
            sheet.paste(large, corners[column], mask=large)
        top += row_height + GAP
    return with_layout(sheet, places)


def hatched(width: int, height: int) -> Image:
    """What stands in a picture for an image that could not be computed: diagonals, unlike any.

    >>> hatched(56, 56).size
    (56, 56)
    """
    from PIL import Image, ImageDraw

    tile = Image.new("RGB", (width, height), HATCH_PAPER)
    pen = ImageDraw.Draw(tile)
    apart = max(4, min(width, height) // 6)
    for start in range(-height, width, apart):
        pen.line([(start, height), (start + height, 0)], fill=HATCH_INK, width=max(1, apart // 4))
    return tile


def picture(image: Tensor, levels: int, broken: bool) -> Image:
    """`to_pil`, or hatching of its size for an image that could not be computed."""
    drawn = to_pil(image, levels)
    return hatched(*drawn.size) if broken else drawn


def enlargement(width: int, height: int, tile: int = TILE) -> int:
    """The whole factor that brings images of so many pixels to about `tile` pixels a side.

    >>> enlargement(28, 28), enlargement(256, 256)
    (2, 1)
    """
    return max(1, round(tile / max(width, height)))


def to_pil(image: Tensor, levels: int) -> Image:
    """Turn one image (C, H, W), integers in 0..levels-1, into 8 bits a channel: x*255/(levels-1).

    One channel gives grayscale, three RGB, four RGBA; of any other number, the first channel is
    shown as grayscale. Raises GlowkitError for values that are not integers in the range.

    >>> to_pil(torch.tensor([[[0, 8, 16]]]), levels=17).tobytes()
    b'\\x00\\x80\\xff'
    """
    from PIL import Image

    if image.dim() != 3 or image.numel() == 0:
        raise GlowkitError(f"an image has shape (C, H, W), not {tuple(image.shape)}")
    if image.is_floating_point() or image.is_complex():
        raise GlowkitError(f"an image to draw holds integers, not {image.dtype}")
    image = image.detach().cpu().to(torch.int64)
    low, high = int(image.min()), int(image.max())
    if low < 0 or high >= levels:
        raise GlowkitError(
            f"the image to draw has values from {low} to {high}, outside 0..{levels - 1}"
        )
    if image.shape[0] not in (1, 3, 4):
        image = image[:1]
    bytes_ = ((2 * image * 255 + levels - 1) // (2 * (levels - 1))).to(torch.uint8)  # rounded
    pixels = bytes_.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def save_gif(
    frames: Tensor,
    levels: int,
    path: Path,
    broken: Tensor | None = None,
) -> None:
    """Write the images (N, C, H, W) as an animation that goes there and back without end.

    A GIF has 256 colours a frame, so colour images lose a little; a sheet does not. The first and
    the last image stay for a moment. broken: which images, (N,) bool, are hatched.
    Raises GlowkitError when it cannot be written.
    """
    from PIL.Image import Resampling

    drawn = [to_pil(image, levels) for image in frames]
    scale = enlargement(*drawn[0].size, 4 * TILE)
    size = (drawn[0].width * scale, drawn[0].height * scale)
    lost = [False] * len(drawn) if broken is None else broken.tolist()
    large = [
        hatched(*size) if hatch else frame.resize(size, Resampling.NEAREST)
        for frame, hatch in zip(drawn, lost, strict=True)
    ]
    durations = [FRAME] * len(large)
    durations[0] = durations[-1] = 8 * FRAME
    write_gif(large + large[-2:0:-1], durations + durations[-2:0:-1], path)


def write_gif(frames: Sequence[Image], milliseconds: Sequence[int], path: Path) -> None:
    """Write pictures, each shown for its time, as an endless animation, all of it or nothing.

    Raises GlowkitError, naming the path and the reason, when it cannot be written.
    """
    first, *others = frames
    with replacing(path) as temporary:
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=list(milliseconds),
            loop=0,
        )


def inline(picture: bytes, kind: str = "png") -> str:
    """A picture as an address that holds it, so that a page needs no other file."""
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode()


def save_png(image: Image, path: Path) -> None:
    """Write `image` to `path` as PNG, all of it or nothing; missing folders are made.

    Raises GlowkitError, naming the path and the reason, when it cannot be written.
    """
    write_atomically(path, png_of(image))
