"""One image file, as a model wants it."""

import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from glowkit.core.errors import GlowkitError
from glowkit.data.levels import largest_change, levels_note, to_levels


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
    from glowkit.data.picture import (
        MARKS,
        BadImage,
        Request,
        read_header,
        read_pixels,
        strict_about_bombs,
    )

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
