"""The IDX format of MNIST and its relatives: big-endian counts, then bytes; gzipped or not."""

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from glowkit.core.arrays import check_expansion
from glowkit.core.errors import GlowkitError

UNSIGNED_BYTE = 8  # the third byte of the magic number names the element type
MOST_AXES = 4  # images in colour


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array in an IDX file, of the shape its header gives.

    The header is checked against the file's size before anything is made of it. Raises
    GlowkitError when the file is unreadable, not IDX, not bytes, too short or too long.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not zipped:
                return _read(path, file, size)
            with gzip.open(file) as unpacked:
                return _read(path, unpacked, size, zipped=True)
    except EOFError:
        raise GlowkitError(f"{path} is truncated: fetch the file again") from None
    except (OSError, zlib.error) as error:
        raise GlowkitError(f"{path} cannot be read ({error}): fetch the file again") from None


def _read(
    path: Path, file: IO[bytes] | gzip.GzipFile, size: int, zipped: bool = False
) -> np.ndarray:
    start = file.read(4)
    if len(start) < 4 or start[:3] != bytes([0, 0, UNSIGNED_BYTE]) or start[3] > MOST_AXES:
        raise GlowkitError(f"{path} is not an IDX file of bytes: fetch the file again")
    axes = start[3]
    counts = file.read(4 * axes)
    if len(counts) < 4 * axes:
        raise GlowkitError(f"{path} is truncated within its header: fetch the file again")
    shape = tuple(int(n) for n in np.frombuffer(counts, ">u4", axes))
    expected = math.prod(shape)
    if zipped:
        check_expansion(str(path), expected, size)
    found = 0 if zipped else size - 4 - 4 * axes
    if zipped or found == expected:
        data = file.read(expected)
        found = len(data) + len(file.read(1))
    if found != expected:
        what = "is truncated" if found < expected else "is too long"
        raise GlowkitError(
            f"{path} {what}: its header promises {expected} bytes and {found} follow"
            f"{' at least' * (zipped and found > expected)}; fetch the file again"
        )
    return np.ndarray(shape, np.uint8, data)
