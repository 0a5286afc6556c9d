"""Images in .npy and .npz files: mapped where they can be, else packed once into the cache."""

from pathlib import Path

import numpy as np

from glowkit.core.errors import GlowkitError
from glowkit.data.cache import PackWriter, packed
from glowkit.data.layout import find_layout, find_levels
from glowkit.data.members import Member, npy_member, npz_members
from glowkit.data.partition import divide
from glowkit.data.source import Source, build_splits

LABEL_NAMES = ("labels", "y")
MOST_CLASSES = 100_000  # beyond this the numbers are not classes but identifiers


def open_arrays(name: str, path: Path, member: str | None, channels: int | None) -> Source:
    """Images of an .npy file, or of one array of an .npz file; 80/10/10 by a fixed permutation.

    member: the array of the .npz to take, None for the only one with 3 or 4 axes. channels:
    settles which axis holds the channels where the shape does not. Whole numbers are taken as
    they are; floats in 0..1 become round(255 x), with a note. Raises GlowkitError for files,
    shapes, values or labels that do not make images.
    """
    if path.suffix.lower() == ".npy":
        images, labels = npy_member(path), None
    else:
        members = npz_members(path)
        images = _choose(path, members, member)
        labels = _labels(members, images)
    layout = find_layout(images, channels)
    rows = divide(images.shape[0], str(path))
    notes = []
    if images.dtype.kind == "f":
        notes.append(f"floats in 0..1 of {images.title} were rounded to 256 levels.")
    if not images.name and images.dtype in (np.uint8, np.uint16):
        levels = find_levels(images)
        pixels = layout.view(images.mapped())
    else:
        pack = packed(
            str(path.resolve()),
            images.name,
            [path.stat().st_size, path.stat().st_mtime_ns],
            lambda writer: _fill(writer, images),
        )
        levels = int(pack.facts["levels"])
        pixels = layout.view(pack.images)
    classes = () if labels is None else tuple(str(k) for k in range(int(labels.max()) + 1))
    _, c, h, w = pixels.shape
    return Source(
        name=name,
        splits=build_splits(pixels, labels, rows),
        image_shape=(c, h, w),
        pixel_levels=levels,
        class_names=classes,
        notes=tuple(notes),
    )


def _fill(writer: PackWriter, images: Member) -> None:
    """Write the array, axes as they are, in the smallest type that holds its levels."""
    levels = find_levels(images)
    writer.facts["levels"] = levels
    for block in images.blocks():
        whole = np.rint(255 * block.astype(np.float64)) if images.dtype.kind == "f" else block
        writer.append(whole.astype(np.uint8 if levels == 256 else np.uint16))


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
