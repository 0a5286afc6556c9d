"""Where the images lie on a sheet: a sheet's PNG says so itself, and a page can take them apart."""

from __future__ import annotations  # PIL's types are named without importing it

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

KEY = "glowkit-layout"
"""Its name in a PNG, as a text chunk, which programs that show pictures pass over."""

_MOST_TILES = 10_000


@dataclass(frozen=True)
class Place:
    """A row of images on a sheet, of one size.

    label: what is written before it. corners: left and top pixel of each image. size: width and
    height there. scale: pixels of the sheet a pixel of an image. numbers: what a page says under
    each, which the sheet has no room for. broken: numbers of those that could not be computed.
    """

    label: str
    corners: Sequence[tuple[int, int]]
    size: tuple[int, int]
    scale: int = 1
    numbers: Sequence[str] = ()
    headings: Sequence[str] = ()
    broken: Sequence[int] = ()


@dataclass(frozen=True)
class Tile:
    """An image of a sheet at its own pixels, as PNG; none where it could not be computed."""

    png: bytes | None
    width: int
    height: int
    number: str = ""
    heading: str = ""


@dataclass(frozen=True)
class Strip:
    """A row of a sheet, taken apart."""

    label: str
    tiles: Sequence[Tile]


def with_layout(sheet: Image, rows: Sequence[Place]) -> Image:
    """The sheet, which now says where its images lie, in its PNG too."""
    sheet.info[KEY] = json.dumps([asdict(row) for row in rows])
    return sheet


def png_of(image: Image) -> bytes:
    """The image as a PNG file holds it, with its layout where it has one."""
    from PIL.PngImagePlugin import PngInfo

    drawn, notes = io.BytesIO(), PngInfo()
    if KEY in image.info:
        notes.add_text(KEY, image.info[KEY])
    image.save(drawn, format="PNG", pnginfo=notes)
    return drawn.getvalue()


def taken_apart(png: bytes) -> list[Strip]:
    """The rows of images of a sheet; none for a picture that does not say where they lie.

    Nor for one that says it wrongly, as a damaged file may: such a picture is shown as it is.

    >>> from glowkit.pictures.sheet import image_sheet
    >>> import torch
    >>> digits = torch.arange(128).reshape(2, 1, 8, 8) % 17
    >>> [strip] = taken_apart(png_of(image_sheet([("T = 1", digits)], levels=17)))
    >>> strip.label, [(tile.width, tile.height) for tile in strip.tiles]
    ('T = 1', [(8, 8), (8, 8)])
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(png)) as sheet:
            said = getattr(sheet, "text", sheet.info).get(KEY)
            if said is None:
                return []
            places = [_place(held) for held in json.loads(said)]
            if sum(len(place.corners) for place in places) > _MOST_TILES:
                return []
            sheet.load()
            return [_strip(sheet, place) for place in places]
    except (OSError, ValueError, KeyError, TypeError, SyntaxError, RecursionError):
        return []
    except Image.DecompressionBombError:
        return []


def _place(held: Mapping[str, Any]) -> Place:
    place = Place(**held)
    texts = [place.label, *place.numbers, *place.headings]
    whole = [place.scale, *place.size, *place.broken, *(n for pair in place.corners for n in pair)]
    if not all(isinstance(text, str) for text in texts) or not all(
        type(number) is int and number >= 0 for number in whole
    ):
        raise ValueError("not the layout of a sheet")
    if place.scale < 1 or any(side < place.scale or side % place.scale for side in place.size):
        raise ValueError("not whole images")
    return place


def _strip(sheet: Image, place: Place) -> Strip:
    tiles = []
    (width, height), scale = place.size, place.scale
    small = (width // scale, height // scale)
    for number, (left, top) in enumerate(place.corners):
        box = (left, top, left + width, top + height)
        if box[2] > sheet.width or box[3] > sheet.height:
            raise ValueError("an image beyond the sheet")
        png = None
        if number not in place.broken:
            # The middle pixel of each square is the image's own.
            png = png_of(_plain(sheet.crop(box).resize(small, 0)))
        said, head = (
            (*names, *[""] * (number + 1))[number] for names in (place.numbers, place.headings)
        )
        tiles.append(Tile(png, *small, said, head))
    return Strip(place.label, tiles)


def _plain(tile: Image) -> Image:
    """Gray where it is gray, which takes a third of the bytes."""
    if tile.mode != "RGB":
        return tile
    red, green, blue = (channel.tobytes() for channel in tile.split())
    return tile.getchannel(0) if red == green == blue else tile
