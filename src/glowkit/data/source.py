"""A source of images: its splits, and the attributes of its images."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from glowkit.data.split import ImageSplit
from glowkit.system.errors import GlowkitError

HAS, LACKS, UNKNOWN = 1, -1, 0


@dataclass(frozen=True)
class AttributeTable:
    """Attributes of N images: +1 where an image has one, -1 where it lacks it, 0 unknown.

    names: A names. values: (N, A) int8.

    >>> table = AttributeTable(("smiling",), np.array([[1], [-1], [0]], np.int8))
    >>> table.rows(np.array([2, 0])).values.ravel().tolist()
    [0, 1]
    """

    names: tuple[str, ...]
    values: np.ndarray

    def rows(self, index: np.ndarray) -> "AttributeTable":
        """The table of the images at these rows, in this order."""
        return AttributeTable(self.names, self.values[index])


def class_attributes(labels: np.ndarray, class_names: tuple[str, ...]) -> AttributeTable:
    """Each class as an attribute that its images have and all others lack; labels (N,), -1 unknown.

    >>> class_attributes(np.array([1, 0, -1]), ("cat", "dog")).values.tolist()
    [[-1, 1], [1, -1], [0, 0]]
    """
    member = labels[:, None] == np.arange(len(class_names))
    values = np.where(member, HAS, LACKS) * (labels >= 0)[:, None]
    return AttributeTable(class_names, values.astype(np.int8))


@dataclass(frozen=True)
class Source:
    """Images ready for training, and what is known about them.

    name: the words given to `open_source`.
    splits: exactly "train", "validation" and "test", none of them empty.
    image_shape: (C, H, W) in pixels.
    pixel_levels: pixels are whole numbers in 0 .. pixel_levels - 1.
    class_names: one a class number, in order; empty when there are no labels.
    notes: sentences for the user about anything that was not taken as it lay on disk.
    attributes: what the source itself knows of its images, a row for each row of `images`.
    files: the names of image files relative to their folder, likewise; empty for other sources.
    """

    things: ClassVar[str] = "images"

    name: str
    splits: dict[str, ImageSplit]
    image_shape: tuple[int, int, int]
    pixel_levels: int
    class_names: tuple[str, ...]
    notes: tuple[str, ...]
    attributes: AttributeTable | None = None
    files: tuple[str, ...] = ()


def build_splits(
    images: np.ndarray, labels: np.ndarray | None, rows: dict[str, np.ndarray]
) -> dict[str, ImageSplit]:
    """The splits of images (N, C, H, W) and labels (N,), -1 or None for none, that `rows` name.

    A split without a single label has `labels` None, so that this can be asked in one place.
    """
    return {
        split: ImageSplit(
            images, None if labels is None or (labels[index] < 0).all() else labels, index
        )
        for split, index in rows.items()
    }


def require_shape(
    name: str, shape: tuple[int, int, int], size: int | None, channels: int | None
) -> None:
    """Refuse a size or channel count that a source of fixed shape (C, H, W) does not have.

    Raises GlowkitError, since arrays are taken as they are: only image files are resized.
    """
    have_channels, height, width = shape
    if size is not None and (height, width) != (size, size):
        raise GlowkitError(
            f"{name} holds {width}x{height} images and only image files are resized: "
            f"leave out --size, or resize to {size}x{size} beforehand"
        )
    if channels is not None and channels != have_channels:
        raise GlowkitError(
            f"{name} has {have_channels} channel(s), not {channels}, and only image files are "
            f"converted: leave out --channels, or convert beforehand"
        )
