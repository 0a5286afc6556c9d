"""Levels of pixels: one rule that brings every image to those of a model."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from glowkit.data.source import ImageSplit, Source
from glowkit.system.errors import GlowkitError


def requantize(images: Tensor, from_levels: int, to_levels: int) -> Tensor:
    """floor(x * to_levels / from_levels), as openai/glow's `preprocess` keeps the top 5 of 8 bits.

    images: whole numbers in 0 .. from_levels - 1, any shape and integer dtype. Returns the same
    shape with levels 0 .. to_levels - 1, uint8 when these fit; `images` itself when the levels
    are equal. Raises GlowkitError when to_levels is larger, below 2 or does not divide
    from_levels (bins of unequal width would bias the likelihood), or for fractional images.

    >>> requantize(torch.tensor([0, 7, 8, 255], dtype=torch.uint8), 256, 32)
    tensor([ 0,  0,  1, 31], dtype=torch.uint8)
    """
    if images.is_floating_point():
        raise GlowkitError(
            f"images of dtype {images.dtype} cannot be requantized: give whole-number pixels"
        )
    if to_levels == from_levels:
        return images
    if to_levels < 2 or to_levels > from_levels or from_levels % to_levels:
        raise GlowkitError(
            f"pixels of {from_levels} levels cannot be brought to {to_levels}: the pixel_levels of"
            f" the model must be at least 2 and divide {from_levels}"
        )
    reduced = torch.div(images, from_levels // to_levels, rounding_mode="floor")
    return reduced.to(torch.uint8) if to_levels <= 256 else reduced


FEW = 32  # whole numbers below it are levels of their own: 2, or the 17 of digits, or 5 bits
CHUNK = 256  # images looked at together


def to_levels(images: Tensor, given: int, levels: int) -> Tensor:
    """Images of `given` levels at fewer `levels`, by the rule above; whole numbers of any shape.

    Raises GlowkitError when levels is larger than given, or below 2.

    >>> to_levels(torch.tensor([0, 7, 8, 128, 255]), 256, 17).tolist()
    [0, 0, 1, 8, 16]
    >>> to_levels(torch.tensor([0, 7, 8, 128, 255]), 256, 32).tolist()
    [0, 0, 1, 16, 31]
    """
    if given > 256 >= levels:
        images, given = requantize(images, given, 256), 256
    if given % levels == 0 or levels > given or levels < 2:
        return requantize(images, given, levels)
    nearest = torch.div(
        2 * images.long() * (levels - 1) + given - 1, 2 * (given - 1), rounding_mode="floor"
    )
    return nearest.to(torch.uint8 if levels <= 256 else torch.int32)


def levels_note(given: int, levels: int, largest: int | None = None) -> str:
    """What `to_levels` does, and the largest change of a value where it is known of an image."""
    if given > 256 >= levels:
        given = 256
    if given % levels == 0:
        share = given // levels
        return f"pixels of {given} levels are reduced to {levels}, v to floor(v / {share})"
    if largest is None:
        said = f"by at most {round((given - 1) / (2 * (levels - 1)))}"
    else:
        said = f"the largest change is {largest}"
    return f"pixels of {given} levels are moved to the nearest of {levels}; {said} of {given - 1}"


def largest_change(images: Tensor, given: int, levels: int) -> int:
    """How far `to_levels` moves any value of these images, in the given levels, rounded."""
    if given > 256 >= levels:
        images, given = requantize(images, given, 256), 256
    moved = to_levels(images, given, levels).double() * (given - 1) / (levels - 1)
    return int((moved - images).abs().max().round())


def whole_levels(
    dtype: np.dtype, highest: int, declared: int | None, wanted: int | None
) -> tuple[int, str]:
    """The levels of whole numbers from 0 to `highest`, and a sentence where that is not plain.

    declared: what the file itself says. wanted: the levels of the model that they are for, which
    count where all values lie below them. Else values below FEW are as many levels as they reach,
    others 256 or 65536.

    >>> whole_levels(np.dtype("uint8"), 1, None, None)
    (2, 'values 0 to 1 are read as 2 levels')
    >>> whole_levels(np.dtype("uint8"), 255, None, 32)
    (256, '')
    """
    most = 256 if dtype.itemsize == 1 else 65536
    by_type = 256 if highest < 256 else 65536
    if declared is not None:
        return declared, ""
    if wanted is not None and max(1, highest) < wanted <= most:
        levels = wanted
    elif highest < FEW:
        levels = max(2, highest + 1)
    else:
        levels = by_type
    plain = levels == most
    return levels, "" if plain else f"values 0 to {highest} are read as {levels} levels"


def at_levels(source: Source, levels: int | None) -> Source:
    """A source for a model of so many levels, with a note where its pixels change.

    Where bins are of equal width, and where the source has too few, training does or refuses the
    rest. Raises GlowkitError where all pixels would become equal.
    """
    given = source.pixel_levels
    if levels is None or not 2 <= levels < given:
        return source
    check_spread(source, levels)
    notes = (*source.notes, levels_note(given, levels))
    if given % levels == 0:
        return replace(source, notes=notes)
    table = to_levels(torch.arange(given), given, levels).numpy()
    splits = {
        name: ImageSplit(split.images, split.labels, split.indices, table)
        for name, split in source.splits.items()
    }
    return replace(source, splits=splits, pixel_levels=levels, notes=notes)


def check_spread(source: Source, levels: int) -> None:
    """Refuse fewer levels where all training images, which are not all of one value, become one."""
    split = source.splits["train"]
    lowest, highest = source.pixel_levels, 0
    # Most often the first image is enough.
    for start, stop in pairwise([0, *range(1, len(split), CHUNK), len(split)]):
        low, high = split.__getitems__(slice(start, stop))[0].aminmax()
        lowest, highest = min(lowest, int(low)), max(highest, int(high))
        ends = to_levels(torch.tensor([lowest, highest]), source.pixel_levels, levels).tolist()
        if ends[0] != ends[1]:
            return
    if lowest != highest:
        raise GlowkitError(
            f"all pixels of {source.name} lie from {lowest} to {highest} of"
            f" {source.pixel_levels - 1}, and all become level {ends[0]} of {levels - 1}: set other"
            " pixel_levels, or stretch the values beforehand"
        )
