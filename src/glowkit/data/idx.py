"""The IDX format of MNIST and its relatives: big-endian counts, then bytes; gzipped or not."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from glowkit.core.errors import GlowkitError

UNSIGNED_BYTE = 8  # the third byte of the magic number names the element type


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array in an IDX file, of the shape its header gives.

    Raises GlowkitError when the file is unreadable, not IDX, not bytes, too short or too long.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except EOFError:
        raise GlowkitError(f"{path} is truncated: fetch the file again") from None
    except (OSError, zlib.error) as error:
        raise GlowkitError(f"{path} cannot be read ({error}): fetch the file again") from None
    if len(data) < 4 or data[:3] != bytes([0, 0, UNSIGNED_BYTE]):
        raise GlowkitError(f"{path} is not an IDX file of bytes: fetch the file again")
    axes = data[3]
    start = 4 + 4 * axes
    if len(data) < start:
        raise GlowkitError(f"{path} is truncated within its header: fetch the file again")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", axes, offset=4))
    expected, found = math.prod(shape), len(data) - start
    if found != expected:
        what = "is truncated" if found < expected else "is too long"
        raise GlowkitError(
            f"{path} {what}: its header promises {expected} bytes and {found} follow; "
            "fetch the file again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
