"""Arrays in .npy and .npz files as NumPy arrays: mapped, or read in blocks of rows."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from glowkit.core.arrays import Stored, npy_array, npz_arrays, sentences

BLOCK_BYTES = 1 << 24  # read at once: large enough to be fast, small beside any memory


@dataclass(frozen=True)
class Member:
    """An array in a file whose header, and nothing else, has been read and checked."""

    stored: Stored

    @property
    def path(self) -> Path:
        return self.stored.path

    @property
    def name(self) -> str:
        """The key in an .npz, "" in an .npy."""
        return self.stored.name

    @property
    def title(self) -> str:
        """How sentences call it."""
        return self.stored.title

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    @cached_property
    def dtype(self) -> np.dtype:
        return np.dtype(self.stored.type)

    @property
    def order(self) -> Literal["F", "C"]:
        return "F" if self.stored.fortran_order else "C"

    def mapped(self) -> np.ndarray:
        """The array of an .npy file, memory-mapped read-only."""
        with sentences(self.title, ".npy"):
            return np.memmap(
                self.path, self.dtype, "r", self.stored.offset, self.shape, order=self.order
            )

    def blocks(self) -> Iterator[np.ndarray]:
        """Consecutive rows, some 16 MB at a time; the end of the file is checked too.

        Raises GlowkitError when the file is truncated or damaged.
        """
        row = max(1, math.prod(self.shape[1:]) * self.dtype.itemsize)
        step = max(1, BLOCK_BYTES // row)
        if not self.name:
            whole = self.mapped()
            yield from (whole[i : i + step] for i in range(0, len(whole), step))
            return
        for data in self.stored.pieces(step):
            shape = self.shape if self.order == "F" else (len(data) // row, *self.shape[1:])
            yield np.ndarray(shape, self.dtype, data, order=self.order)


def npy_member(path: Path) -> Member:
    """The array of an .npy file. Raises GlowkitError as `npy_array` does."""
    return Member(npy_array(path))


def npz_members(path: Path) -> dict[str, Member]:
    """The arrays of an .npz file by name. Raises GlowkitError as `npz_arrays` does."""
    return {name: Member(stored) for name, stored in npz_arrays(path).items()}
