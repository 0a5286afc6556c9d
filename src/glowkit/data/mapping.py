"""Say where a memory-mapped array lies, so that another process can map the same bytes."""

from typing import NamedTuple

import numpy as np


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
