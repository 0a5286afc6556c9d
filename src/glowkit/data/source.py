"""A source of images: its splits, who is in which, and what is known of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from glowkit.system.errors import GlowkitError


class Mapping(NamedTuple):
    """A strided view of a file: offset and strides in bytes."""

    filename: str
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def describe_mapping(array: np.ndarray) -> Mapping | None:
    """The place of `array` in its file, or None when it is not a memory map of a file."""
    if not isinstance(array, np.memmap) or array.filename is None:
        return None
    # A view keeps the `offset` of the map it was taken from, so the distance between the two
    # must be measured in memory.
    root: np.memmap = array
    while isinstance(root.base, np.memmap):
        root = root.base
    start = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return Mapping(
        str(array.filename), array.dtype.str, root.offset + start, array.shape, array.strides
    )


def open_mapping(mapping: Mapping) -> np.ndarray:
    """The same view, mapped anew, read-only. Raises OSError when the file has gone."""
    whole = np.memmap(mapping.filename, dtype=np.uint8, mode="r")
    return np.ndarray(
        mapping.shape,
        dtype=np.dtype(mapping.dtype),
        buffer=whole,
        offset=mapping.offset,
        strides=mapping.strides,
    )


class ImageSplit(Dataset[tuple[Tensor, int]]):
    """Images and labels of one split, read by row; `images` may be far larger than memory.

    images: (N, C, H, W) array or memory map, uint8 or uint16, never written to.
    labels: (N,) int64 class numbers, or None.
    indices: the rows of `images` that belong to the split, in order; all of them by default.
    table: what each value of `images` becomes when it is read; by default itself.

    Image tensors are uint8 when the levels fit in 8 bits, else int32 (torch has little
    arithmetic for uint16). Raises IndexError for a row that does not exist.

    >>> split = ImageSplit(np.zeros((5, 1, 2, 2), np.uint8), np.arange(5), np.array([4, 2]))
    >>> len(split), split[0][1]
    (2, 4)
    >>> images, labels = split.__getitems__([1, 0])
    >>> tuple(images.shape), labels.tolist()
    ((2, 1, 2, 2), [2, 4])
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        indices: np.ndarray | None = None,
        table: np.ndarray | None = None,
    ) -> None:
        self.images = images
        self.labels = labels
        self.indices = np.arange(len(images)) if indices is None else indices
        self.table = table

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image (C, H, W) and its class number, -1 when unlabelled."""
        row = self.indices[index]
        label = -1 if self.labels is None else int(self.labels[row])
        return self._tensor(row), label

    def __getitems__(self, indices: Sequence[int] | slice | np.ndarray) -> tuple[Tensor, Tensor]:
        """A whole batch: images (B, C, H, W) and labels (B,) int64, -1 when unlabelled.

        A DataLoader calls this once per batch; give it `collate_fn=lambda batch: batch`.
        """
        if not isinstance(indices, slice):
            indices = np.asarray(indices, dtype=np.int64)
        rows = self.indices[indices]
        if self.labels is None:
            labels = torch.full((len(rows),), -1, dtype=torch.int64)
        else:
            labels = torch.from_numpy(self.labels[rows].astype(np.int64))
        return self._tensor(rows), labels

    def _tensor(self, rows: Any) -> Tensor:
        """Independent and writable: torch warns about (and could corrupt) read-only maps."""
        pixels = self.images[rows] if self.table is None else self.table[self.images[rows]]
        dtype = np.uint8 if pixels.dtype == np.uint8 else np.int32
        return torch.from_numpy(np.array(pixels, dtype=dtype, order="C"))

    # A memory map pickles as a copy of everything it maps; worker processes that do not fork
    # (the default from Python 3.14 on) must open the file again instead.
    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        mapping = describe_mapping(self.images)
        if mapping is not None:
            state["images"] = mapping
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not isinstance(self.images, np.ndarray):
            self.images = open_mapping(self.images)


SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {  # what folders and data sets call them
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def shuffled(count: int) -> np.ndarray:
    """A fixed permutation of range(count), (count,) int64.

    The order matters beyond the division: rows of a folder come sorted by class, and the first
    batch of a split should be a fair sample of it.
    """
    # RandomState, because NumPy promises its stream never changes between versions; a split
    # that changed with an upgrade would put test images into training.
    return np.random.RandomState(0).permutation(count).astype(np.int64)


def tenth(count: int) -> int:
    """The size of a held-out part: a tenth of `count`, at least one."""
    return max(1, count // 10)


def divide(count: int, name: str) -> dict[str, np.ndarray]:
    """Rows 0 .. count-1 as train, validation and test, 80/10/10, at least one in each.

    name: for the sentence. Raises GlowkitError when there are fewer than 3 rows.

    >>> {split: len(rows) for split, rows in divide(105, "x").items()}
    {'train': 85, 'validation': 10, 'test': 10}
    """
    return complete({"train": np.arange(count)}, name)


def rows_of(split_of: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of each split that has any, and of "train", from the name of each row's split."""
    return {
        split: np.flatnonzero(split_of == split) for split in sorted({"train", *split_of.tolist()})
    }


def complete(given: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Three splits out of those given ("train" at least), rows in a fixed shuffled order.

    A split that is missing is taken from the training rows: a tenth of them, at least one.
    Raises GlowkitError when that would leave no training row.
    """
    train = given["train"]
    missing = [split for split in ("test", "validation") if split not in given]
    if len(train) < 1 + len(missing):
        need = " and ".join(["training", *missing])
        raise GlowkitError(
            f"{name} has only {len(train)} image(s) to share between {need}: "
            f"at least {1 + len(missing)} are needed"
        )
    train = train[shuffled(len(train))]
    held_out = tenth(len(train))
    found: dict[str, np.ndarray] = {}
    for split in missing:
        found[split], train = train[:held_out], train[held_out:]
    found["train"] = train
    for split in SPLITS:
        if split not in found:
            found[split] = given[split][shuffled(len(given[split]))]
    return {split: found[split] for split in SPLITS}


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
