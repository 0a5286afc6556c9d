"""Image arrays in .npy and .npz files."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from glowkit.data.cache import PackWriter, packed
from glowkit.data.levels import FEW, whole_levels
from glowkit.data.source import Source, build_splits, divide
from glowkit.system.arrays import Stored, npy_array, npz_arrays, sentences
from glowkit.system.errors import GlowkitError

BLOCK_BYTES = 1 << 24  # read at once: large enough to be fast, small beside any memory


def mapped(array: Stored) -> np.ndarray:
    """The array of an .npy file, memory-mapped read-only."""
    order: Literal["F", "C"] = "F" if array.fortran_order else "C"
    with sentences(array.title, ".npy"):
        return np.memmap(array.path, array.type, "r", array.offset, array.shape, order=order)


def blocks(array: Stored) -> Iterator[np.ndarray]:
    """Consecutive rows, some 16 MB at a time; the end of the file is checked too.

    Raises GlowkitError when the file is truncated or damaged.
    """
    row = max(1, math.prod(array.shape[1:]) * array.itemsize)
    step = max(1, BLOCK_BYTES // row)
    if not array.name:
        whole = mapped(array)
        yield from (whole[i : i + step] for i in range(0, len(whole), step))
        return
    for data in array.pieces(step):
        if array.fortran_order:
            yield np.ndarray(array.shape, array.type, data, order="F")
        else:
            yield np.ndarray((len(data) // row, *array.shape[1:]), array.type, data)


class Layout(NamedTuple):
    """How to view an array as (N, C, H, W): where its channels are, and their number."""

    channel_axis: int | None
    channels: int

    def view(self, array: np.ndarray) -> np.ndarray:
        """The array as (N, C, H, W), without a copy."""
        if self.channel_axis is None:
            return array[:, None]
        return np.moveaxis(array, self.channel_axis, 1)


def find_layout(member: Stored, channels: int | None) -> Layout:
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


def find_values(member: Stored, enough: int = 65536) -> Values:
    """The range of an array's values, which must be pixels.

    Of uint8 and uint16 only as much is read as tells whether a value reaches `enough`. Raises
    GlowkitError for values outside 0..1 (floats) or 0..65535 (integers), NaN, and dtypes that are
    not numbers.
    """
    if member.kind not in "iuf":
        raise GlowkitError(
            f"{member.title} holds {np.dtype(member.type).name}, which are not pixels: save whole"
            " numbers (uint8 or uint16), or floats in 0..1"
        )
    low, high = np.inf, -np.inf
    cannot_fail = member.kind == "u" and member.itemsize <= 2
    for block in blocks(member):
        smallest, largest = float(block.min()), float(block.max())
        if np.isnan(smallest):
            raise GlowkitError(
                f"{member.title} holds NaN: remove those images, or fill in the values"
            )
        low, high = min(low, smallest), max(high, largest)
        if cannot_fail and high >= enough:
            break
    if member.kind == "f":
        _check_floats(member, low, high)
    elif low < 0 or high > 65535:
        raise GlowkitError(
            f"{member.title} holds whole numbers from {low:g} to {high:g}, but pixels must lie in "
            "0..255 or 0..65535: rescale them"
        )
    return Values(low, high)


def _check_floats(member: Stored, low: float, high: float) -> None:
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


LABEL_NAMES = ("labels", "y")
MOST_CLASSES = 100_000  # beyond this the numbers are not classes but identifiers


def open_arrays(
    name: str, path: Path, member: str | None, channels: int | None, levels: int | None = None
) -> Source:
    """Images of an .npy file, or of one array of an .npz file; 80/10/10 by a fixed permutation.

    member: the array of the .npz to take, None for the only one with 3 or 4 axes. channels:
    settles which axis holds the channels where the shape does not. Whole numbers are taken as
    they are, as so many levels as an array `levels` in the .npz says, or else `whole_levels`, of a
    model of `levels`; floats in 0..1 become round(255 x), with a note. Raises GlowkitError for
    files, shapes, values or labels that do not make images.
    """
    declared = labels = None
    if path.suffix.lower() == ".npy":
        images = npy_array(path)
    else:
        members = npz_arrays(path)
        images = _choose(path, members, member)
        labels = _labels(members, images)
        declared = _declared(members)
    layout = find_layout(images, channels)
    rows = divide(images.shape[0], str(path))
    # What a value must reach to settle the levels; most arrays do with their first images.
    most = 256 if images.itemsize == 1 else 65536
    counting = levels if levels is not None and levels < most else 0
    enough = max(FEW, declared or 0, counting, 256 if most > 256 else 0)
    dtype = np.dtype(images.type)
    as_it_lies = not images.name and dtype in (np.uint8, np.uint16)
    if as_it_lies:
        highest = int(find_values(images, enough).high)
        as_it_lies = dtype == np.uint8 or highest > 255
    if as_it_lies:
        pixels = layout.view(mapped(images))
    else:
        pack = packed(
            str(path.resolve()),
            images.name,
            [path.stat().st_size, path.stat().st_mtime_ns],
            lambda writer: _fill(writer, images),
        )
        highest = int(pack.facts["highest"])
        pixels = layout.view(pack.images)
    if images.kind == "f":
        own, note = 256, f"floats in 0..1 of {images.title} were rounded to 256 levels."
    else:
        if declared is not None and highest >= declared:
            raise GlowkitError(
                f"{images.title} has values up to {highest}, but its array levels says {declared}"
            )
        own, note = whole_levels(dtype, highest, declared, levels)
    classes = () if labels is None else tuple(str(k) for k in range(int(labels.max()) + 1))
    _, c, h, w = pixels.shape
    return Source(
        name=name,
        splits=build_splits(pixels, labels, rows),
        image_shape=(c, h, w),
        pixel_levels=own,
        class_names=classes,
        notes=(note,) if note else (),
    )


def _fill(writer: PackWriter, images: Stored) -> None:
    """Write the array, axes as they are, in the smallest type that holds its values."""
    high = find_values(images).high
    is_float = images.kind == "f"
    writer.facts["highest"] = 255 if is_float else int(high)
    for block in blocks(images):
        whole = np.rint(255 * block.astype(np.float64)) if is_float else block
        writer.append(whole.astype(np.uint8 if is_float or high < 256 else np.uint16))


def _declared(members: dict[str, Stored]) -> int | None:
    """What a single whole number called `levels` says, if there is one."""
    member = members.get("levels")
    if member is None or member.shape not in ((), (1,)):
        return None
    (value,) = next(blocks(member)).ravel().tolist()
    if member.kind not in "iu" or not 2 <= value <= 65536:
        raise GlowkitError(f"{member.title} is {value!r}: levels are a whole number, 2 to 65536")
    return int(value)


def _choose(path: Path, members: dict[str, Stored], wanted: str | None) -> Stored:
    """The array of images: the one named, or the only one with three axes or more."""
    listing = ", ".join(f"{name} {member.shape}" for name, member in members.items()) or "nothing"
    if wanted is not None:
        if wanted not in members:
            raise GlowkitError(f"{path} has no array {wanted}: it holds {listing}")
        return members[wanted]
    candidates = [member for member in members.values() if len(member.shape) >= 3]
    if not candidates:
        raise GlowkitError(
            f"{path} holds no array of images, (N, H, W) or more axes: it holds {listing}"
        )
    if len(candidates) > 1:
        raise GlowkitError(
            f"{path} holds several arrays that could be images: {listing}; choose one as "
            f"{path}:{candidates[0].name}"
        )
    return candidates[0]


def _labels(members: dict[str, Stored], images: Stored) -> np.ndarray | None:
    """Class numbers (N,) int64 from the array `labels` or `y`, None when there is neither."""
    found = [members[name] for name in LABEL_NAMES if name in members]
    if not found:
        return None
    if len(found) > 1:
        raise GlowkitError(f"{images.path} holds both labels and y: keep the one that is meant")
    member = found[0]
    if len(member.shape) != 1 or member.kind not in "iu":
        raise GlowkitError(
            f"{member.title} has shape {member.shape} and dtype {np.dtype(member.type).name}:"
            " labels must be whole numbers, one an image"
        )
    if member.shape[0] != images.shape[0]:
        raise GlowkitError(
            f"{member.title} has {member.shape[0]} labels for the {images.shape[0]} images of "
            f"{images.name}: there must be one an image"
        )
    labels = np.concatenate([block.astype(np.int64) for block in blocks(member)])
    if labels.min() < 0 or labels.max() >= MOST_CLASSES:
        raise GlowkitError(
            f"{member.title} has labels from {labels.min()} to {labels.max()}: number the classes "
            "from 0 up"
        )
    return labels
