"""Which axis of an array of images is which, and how many levels its numbers mean."""

from typing import NamedTuple

import numpy as np

from glowkit.core.errors import GlowkitError
from glowkit.data.members import Member


class Layout(NamedTuple):
    """How to view an array as (N, C, H, W): where its channels are, and their number."""

    channel_axis: int | None
    channels: int

    def view(self, array: np.ndarray) -> np.ndarray:
        """The array as (N, C, H, W), without a copy."""
        if self.channel_axis is None:
            return array[:, None]
        return np.moveaxis(array, self.channel_axis, 1)


def find_layout(member: Member, channels: int | None) -> Layout:
    """The one layout that the shape and the channels asked for (or None) permit.

    Raises GlowkitError when there is none, or more than one.
    """
    shape = member.shape
    if len(shape) not in (3, 4) or 0 in shape:
        raise GlowkitError(
            f"{member.title} has shape {shape}: images must be (N, H, W), (N, H, W, C) or "
            "(N, C, H, W), with no axis of length 0"
        )
    if len(shape) == 3:
        # (32, 32, 3) is far more often one colour image than 32 images three pixels wide.
        if shape[2] in (1, 3, 4) and channels != 1:
            raise GlowkitError(
                f"{member.title} has shape {shape}, which looks like a single image: save a stack "
                "(N, H, W, C), or pass --channels 1 if it holds grayscale images (N, H, W)"
            )
        return Layout(None, 1)
    found = [Layout(axis, shape[axis]) for axis in (1, 3) if shape[axis] in (1, 3, 4)]
    if not found:
        raise GlowkitError(
            f"{member.title} has shape {shape}: neither axis 1 nor the last has 1, 3 or 4 "
            "channels; save it as (N, H, W, C) or (N, C, H, W)"
        )
    if len(found) == 2 and found[0].channels != found[1].channels and channels is not None:
        found = [layout for layout in found if layout.channels == channels] or found[:1]
    if len(found) == 2:
        raise GlowkitError(
            f"{member.title} has shape {shape}, and either axis 1 or the last could be the "
            "channels: pass --channels, or save grayscale images as (N, H, W)"
        )
    return found[0]


class Values(NamedTuple):
    """The smallest and the largest value of an array; of uint8 and uint16, one that is enough."""

    low: float
    high: float


def find_values(member: Member, enough: int = 65536) -> Values:
    """The range of an array's values, which must be pixels.

    Of uint8 and uint16 only as much is read as tells whether a value reaches `enough`. Raises
    GlowkitError for values outside 0..1 (floats) or 0..65535 (integers), NaN, and dtypes that are
    not numbers.
    """
    if member.dtype.kind not in "iuf":
        raise GlowkitError(
            f"{member.title} holds {member.dtype.name}, which are not pixels: save whole numbers "
            "(uint8 or uint16), or floats in 0..1"
        )
    low, high = np.inf, -np.inf
    cannot_fail = member.dtype.kind == "u" and member.dtype.itemsize <= 2
    for block in member.blocks():
        smallest, largest = float(block.min()), float(block.max())
        if np.isnan(smallest):
            raise GlowkitError(
                f"{member.title} holds NaN: remove those images, or fill in the values"
            )
        low, high = min(low, smallest), max(high, largest)
        if cannot_fail and high >= enough:
            break
    if member.dtype.kind == "f":
        _check_floats(member, low, high)
    elif low < 0 or high > 65535:
        raise GlowkitError(
            f"{member.title} holds whole numbers from {low:g} to {high:g}, but pixels must lie in "
            "0..255 or 0..65535: rescale them"
        )
    return Values(low, high)


def _check_floats(member: Member, low: float, high: float) -> None:
    if low < 0 or high > 1:
        raise GlowkitError(
            f"{member.title} holds floats from {low:g} to {high:g}, but floats must lie in "
            "0..1: rescale them, or save pixels 0..255 as uint8"
        )
    if low < high and np.rint(255 * low) == np.rint(255 * high):
        raise GlowkitError(
            f"{member.title} holds floats from {low:g} to {high:g}, which all round to the same of"
            " 256 levels: stretch them over 0..1"
        )
