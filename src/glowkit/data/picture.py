"""One picture file: what is taken of it, and in which words it is refused."""

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from torch import Tensor

from glowkit.data.levels import largest_change, levels_note, to_levels
from glowkit.system.errors import GlowkitError

# Those that cameras, programs and data sets write. Pillow knows some forty more, of which a few
# start other programs or are hardly ever tried, and a file chooses its format by its first bytes.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's names for 16-bit grayscale
GRAY_MODES = ("1", "L", "LA", "La", *DEEP_MODES)
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
ORIENTATION = 0x0112
COLOUR = {1: "L", 3: "RGB", 4: "RGBA"}
LARGE = 2**24  # pixels
_LARGE = threading.Lock()
BAND = 256  # rows composited at once, so that a large image is not in memory many times over

# What can happen to a picture that its owner should hear of; said of a number of them.
MARKS = {
    "transparent": "with transparency composited on white",
    "reduced": "with 16 bits a colour read at 8 bits",
    "bilevel": "of 1 bit a pixel read as 0 and 255",
    "enlarged": "smaller than --size and enlarged",
    "frames": "with several frames, of which only the first is used",
}


class BadImage(Exception):
    """The image cannot be decoded; the message says why."""


class Header(NamedTuple):
    """What the first bytes of a file tell.

    size: (width, height) in pixels once upright, None when only decoding will tell. area: in
    pixels. deep: whether it is 16-bit grayscale.
    """

    size: tuple[int, int] | None
    area: int
    gray: bool
    deep: bool


@dataclass(frozen=True)
class Request:
    """How pictures are wanted: channels 1, 3 or 4; deep for 16 bits; size a side in pixels.

    Without deep, 16-bit grayscale becomes ⌊v / 256⌋, as training at 256 levels has it.
    """

    channels: int
    deep: bool
    size: int | None


class Decoded(NamedTuple):
    """Pixels (C, H, W), uint8 or uint16, and those of MARKS that apply."""

    pixels: np.ndarray
    marks: tuple[str, ...]


def read_header(data: Path | bytes) -> Header:
    """Size and kind of an image, without decoding it. Raises BadImage."""
    with _opened(data) as image:
        width, height = image.size
        deep = image.mode in DEEP_MODES
        return Header(_upright_size(image), width * height, _is_gray(image), deep)


def read_pixels(data: Path | bytes, request: Request) -> Decoded:
    """Decode an image, turn it upright, and bring it to the form requested. Raises BadImage."""
    with _opened(data) as image, _in_turn(image.size):
        marks = set()
        if ";16" in repr([tile[3] for tile in image.tile]) and not request.deep:
            marks.add("reduced")
            if isinstance(image.info.get("transparency"), tuple):  # Pillow compares it with 8 bits
                raise BadImage("a transparent colour of 16 bits: save with an alpha channel")
        if image.mode == "1":
            marks.add("bilevel")
        if getattr(image, "is_animated", False):
            marks.add("frames")
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        if request.size is not None and min(image.size) < request.size:
            marks.add("enlarged")
        return Decoded(_decoded(image, request, marks), tuple(sorted(marks)))


@contextmanager
def strict_about_bombs() -> Iterator[None]:
    """Refuse images of suspicious size, and keep Pillow's other remarks off the screen.

    Filters are changed around all threads, because they belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _in_turn(size: tuple[int, int]) -> AbstractContextManager[object]:
    """Large images one at a time, whatever the number of threads, so that memory is that of one."""
    return _LARGE if size[0] * size[1] > LARGE else nullcontext()


@contextmanager
def _opened(data: Path | bytes) -> Iterator[ImageFile]:
    """An image of a kind that is read; whatever its damage makes Pillow raise is a BadImage."""
    try:
        with _file(data) as file, Image.open(file, formats=FORMATS) as image:
            if image.mode == "F":
                raise BadImage("floating-point pixels: save as 16-bit PNG or as .npy")
            if image.mode in ("LAB", "HSV"):
                raise BadImage(f"colours of kind {image.mode}: save as RGB PNG")
            yield image
    except BadImage:
        raise
    except Exception as error:
        raise _bad(error) from error


def _upright_size(image: Image.Image) -> tuple[int, int] | None:
    # The method of the base class, because that of PNG images decodes the pixels.
    if Image.Image.getexif(image).get(ORIENTATION) not in SIDEWAYS:
        return image.size
    if image.format == "TIFF":  # some releases of Pillow have swapped the sides by now
        return None
    return image.height, image.width


def _is_gray(image: Image.Image) -> bool:
    if image.mode != "P" or image.palette is None:
        return image.mode in GRAY_MODES
    kind, entries = image.palette.getdata()
    return kind == "RGB" and entries[0::3] == entries[1::3] == entries[2::3]


def _decoded(image: Image.Image, request: Request, marks: set[str]) -> np.ndarray:
    """Pixels (C, H, W), uint16 where `request` is deep and else uint8."""
    if request.deep:
        return _deep_pixels(image, request, marks)
    if image.mode not in DEEP_MODES:
        return _pixels(image, request, marks)
    gray = (_deep_pixels(image, request, marks) >> 8).astype(np.uint8)
    if request.channels == 4:
        return np.concatenate([gray, gray, gray, np.full_like(gray, 255)])
    return gray.repeat(request.channels, 0)


def _pixels(image: Image.Image, request: Request, marks: set[str]) -> np.ndarray:
    """8-bit pixels (C, H, W)."""
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        if image.mode == "La":  # Pillow converts it to no other
            image = image.convert("LA")
        image = image.convert("RGBA") if request.channels == 4 else _on_white(image, marks)
    if image.mode != COLOUR[request.channels]:
        image = image.convert(COLOUR[request.channels])
    image = _cropped(image, request.size)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _on_white(image: Image.Image, marks: set[str]) -> Image.Image:
    width, height = image.size
    paper = Image.new("RGB", image.size)
    for top in range(0, height, BAND):
        band = image.crop((0, top, width, min(height, top + BAND))).convert("RGBA")
        if band.getchannel("A").getextrema() != (255, 255):
            marks.add("transparent")
            band = Image.alpha_composite(Image.new("RGBA", band.size, "white"), band)
        paper.paste(band.convert("RGB"), (0, top))
    return paper


def _deep_pixels(image: Image.Image, request: Request, marks: set[str]) -> np.ndarray:
    """16-bit pixels (1, H, W)."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise BadImage("pixels outside 0..65535: save as 16-bit PNG")
    clear = image.info.get("transparency")
    if clear is not None and (values == clear).any():
        marks.add("transparent")
        values = np.where(values == clear, 65535, values)
        image = Image.fromarray(values.astype(np.int32))
    if request.size is not None:  # Pillow resizes no 16-bit image well, but float images it does
        small = np.asarray(_cropped(image.convert("F"), request.size))
        values = np.rint(small).clip(0, 65535)
    return values.astype(np.uint16)[None]


def _cropped(image: Image.Image, size: int | None) -> Image.Image:
    """The centre square, resized with antialiasing to `size` pixels a side."""
    if size is None or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


def _file(data: Path | bytes) -> IO[bytes]:
    # Never by name: Pillow 13.0 maps uncompressed TIFF files that it opened by name, and then
    # scrambles those that are stored sideways.
    if isinstance(data, bytes):
        return io.BytesIO(data)
    if os.path.exists(data) and not os.path.isfile(data):  # opening a pipe would wait for ever
        raise BadImage("not a regular file")
    return open(data, "rb")


def _bad(error: Exception) -> BadImage:
    if type(error).__name__ == "UnidentifiedImageError":  # its message repeats the file name
        return BadImage(f"not an image of a known kind ({', '.join(FORMATS)}), or damaged")
    if isinstance(error, OSError) and error.strerror:
        return BadImage(error.strerror)
    return BadImage(" ".join(str(error).split()) or type(error).__name__)


class Picture(NamedTuple):
    """image: (1, C, H, W) integers below the model's levels. notes: what was lost on the way."""

    image: Tensor
    notes: tuple[str, ...]


def read_picture(
    path: Path,
    image_shape: tuple[int, int, int],
    levels: int,
    name: str | None = None,
    most_pixels: int | None = None,
) -> Picture:
    """Read one image file for a model: as a folder of it would be read, and to the same levels.

    For a square shape the image is resized and cropped to it. `name` is what sentences call the
    file, its path by default; most_pixels: how large it may be, beyond what all images may. Raises
    GlowkitError for a file that is missing, damaged or too large, of fewer levels than the model
    has, or of another size where the shape is not square.
    """
    channels, height, width = image_shape
    name = name or str(path)
    if not os.path.exists(path):  # of os, because that of Path raises for names too long
        raise GlowkitError(f"no such image file: {name}")
    if channels not in (1, 3, 4):
        raise GlowkitError(f"the model takes {channels} channels, which no image file has")
    size = height if height == width else None
    try:
        with strict_about_bombs():
            header = read_header(path)
            if most_pixels is not None and header.area > most_pixels:
                raise GlowkitError(
                    f"{name} is of {header.area:,} pixels, and at most {most_pixels:,} are taken;"
                    " make it smaller beforehand"
                )
            deep = header.deep and levels > 256
            if deep and channels != 1:
                raise GlowkitError(
                    f"{name} is a 16-bit grayscale image, which is read with 1 channel only, and"
                    f" the model takes {channels}: save it as 8-bit"
                )
            pixels, marks = read_pixels(path, Request(channels, deep, size))
    except BadImage as error:
        raise GlowkitError(f"{name} cannot be read as an image: {error}") from error
    if pixels.shape != tuple(image_shape):
        raise GlowkitError(
            f"{name} is {pixels.shape[2]}x{pixels.shape[1]} pixels, but the model takes"
            f" {width}x{height}; resize it beforehand"
        )
    given = 65536 if deep else 256
    image = torch.from_numpy(pixels.astype("int32"))[None]
    notes = [f"an image {MARKS[mark].replace('--size', 'those of the model')}" for mark in marks]
    if levels < given:
        change = None if given % levels == 0 else largest_change(image, given, levels)
        notes.append(levels_note(given, levels, change))
    try:
        image = to_levels(image, given, levels)
    except GlowkitError as error:
        raise GlowkitError(f"{name}: {error}") from error
    return Picture(image, tuple(f"{name}: {note}" for note in notes))
