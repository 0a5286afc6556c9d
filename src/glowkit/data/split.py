"""One split of a source: images and labels by row, in memory or mapped from disk."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from glowkit.data.mapping import describe_mapping, open_mapping


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
