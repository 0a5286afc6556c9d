"""Images in .npy and .npz files: mapped where they can be, else packed once into the cache."""

from pathlib import Path

import numpy as np

from glowkit.core.errors import GlowkitError
from glowkit.data.cache import PackWriter, packed
from glowkit.data.layout import find_layout, find_values
from glowkit.data.levels import FEW, whole_levels
from glowkit.data.members import Member, npy_member, npz_members
from glowkit.data.partition import divide
from glowkit.data.source import Source, build_splits

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
        images = npy_member(path)
    else:
        members = npz_members(path)
        images = _choose(path, members, member)
        labels = _labels(members, images)
        declared = _declared(members)
    layout = find_layout(images, channels)
    rows = divide(images.shape[0], str(path))
    # What a value must reach to settle the levels; most arrays do with their first images.
    most = 256 if images.dtype.itemsize == 1 else 65536
    counting = levels if levels is not None and levels < most else 0
    enough = max(FEW, declared or 0, counting, 256 if most > 256 else 0)
    mapped = not images.name and images.dtype in (np.uint8, np.uint16)
    if mapped:
        highest = int(find_values(images, enough).high)
        mapped = images.dtype == np.uint8 or highest > 255
    if mapped:
        pixels = layout.view(images.mapped())
    else:
        pack = packed(
            str(path.resolve()),
            images.name,
            [path.stat().st_size, path.stat().st_mtime_ns],
            lambda writer: _fill(writer, images),
        )
        highest = int(pack.facts["highest"])
        pixels = layout.view(pack.images)
    if images.dtype.kind == "f":
        own, note = 256, f"floats in 0..1 of {images.title} were rounded to 256 levels."
    else:
        if declared is not None and highest >= declared:
            raise GlowkitError(
                f"{images.title} has values up to {highest}, but its array levels says {declared}"
            )
        own, note = whole_levels(images.dtype, highest, declared, levels)
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


def _fill(writer: PackWriter, images: Member) -> None:
    """Write the array, axes as they are, in the smallest type that holds its values."""
    high = find_values(images).high
    is_float = images.dtype.kind == "f"
    writer.facts["highest"] = 255 if is_float else int(high)
    for block in images.blocks():
        whole = np.rint(255 * block.astype(np.float64)) if is_float else block
        writer.append(whole.astype(np.uint8 if is_float or high < 256 else np.uint16))


def _declared(members: dict[str, Member]) -> int | None:
    """What a single whole number called `levels` says, if there is one."""
    member = members.get("levels")
    if member is None or member.shape not in ((), (1,)):
        return None
    (value,) = next(member.blocks()).ravel().tolist()
    if member.dtype.kind not in "iu" or not 2 <= value <= 65536:
        raise GlowkitError(f"{member.title} is {value!r}: levels are a whole number, 2 to 65536")
    return int(value)


def _choose(path: Path, members: dict[str, Member], wanted: str | None) -> Member:
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


def _labels(members: dict[str, Member], images: Member) -> np.ndarray | None:
    """Class numbers (N,) int64 from the array `labels` or `y`, None when there is neither."""
    found = [members[name] for name in LABEL_NAMES if name in members]
    if not found:
        return None
    if len(found) > 1:
        raise GlowkitError(f"{images.path} holds both labels and y: keep the one that is meant")
    member = found[0]
    if len(member.shape) != 1 or member.dtype.kind not in "iu":
        raise GlowkitError(
            f"{member.title} has shape {member.shape} and dtype {member.dtype.name}: labels must "
            "be whole numbers, one an image"
        )
    if member.shape[0] != images.shape[0]:
        raise GlowkitError(
            f"{member.title} has {member.shape[0]} labels for the {images.shape[0]} images of "
            f"{images.name}: there must be one an image"
        )
    labels = np.concatenate([block.astype(np.int64) for block in member.blocks()])
    if labels.min() < 0 or labels.max() >= MOST_CLASSES:
        raise GlowkitError(
            f"{member.title} has labels from {labels.min()} to {labels.max()}: number the classes "
            "from 0 up"
        )
    return labels
