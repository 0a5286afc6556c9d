"""What codecs without a model make of the same images: PNG, lossless WebP and JPEG XL."""

import io
import math
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

LARGEST_SIDE = 16383
"""Of a WebP file; larger sheets are left out for all, so that figures are of one sheet."""

MOST_AT_EFFORT_9 = 1 << 20

Pixels = NDArray[np.uint8]


def codecs() -> dict[str, Callable[[Pixels], int]]:
    """From a picture, (H, W) or (H, W, 3), to the bytes of a file of it, headers included.

    JPEG XL is there where `imagecodecs` is installed, and is the smaller of efforts 7 and 9; of 7
    alone for pictures of more than a million values, where 9 would take minutes.
    """
    found: dict[str, Callable[[Pixels], int]] = {"PNG": _png, "WebP": _webp}
    return found | ({"JPEG XL": _jpeg_xl} if find_spec("imagecodecs") else {})


def classical_bits(images: Tensor, levels: int) -> Mapping[str, tuple[float, float | None]]:
    """Bits/dim of each codec: with a file an image, and with all on one sheet (None: too large).

    Empty for images that these codecs do not take: of more than 256 levels, of other than one
    channel or three, or too large. Values are written as they are: 17 levels are the greys 0 to 16.
    """
    files, sheets = file_bits(images, levels), sheet_bits(images, levels)
    return {name: (files[name], sheets[name]) for name in files}


def file_bits(images: Tensor, levels: int) -> dict[str, float]:
    """The first of these figures alone."""
    rows = _rows(images, levels)
    if rows is None:
        return {}
    return {
        name: 8 * sum(size(squeezed(row)) for row in rows) / rows.size
        for name, size in codecs().items()
    }


def sheet_bits(images: Tensor, levels: int) -> dict[str, float | None]:
    """The second alone."""
    rows = _rows(images, levels)
    if rows is None:
        return {}
    whole = sheet(rows)
    fits = max(whole.shape[:2]) <= LARGEST_SIDE
    return {
        name: 8 * size(squeezed(whole)) / rows.size if fits else None
        for name, size in codecs().items()
    }


def _rows(images: Tensor, levels: int) -> Pixels | None:
    _, channels, *sides = images.shape
    if levels > 256 or channels not in (1, 3) or max(sides) > LARGEST_SIDE:
        return None
    return np.moveaxis(images.cpu().numpy().astype(np.uint8), 1, -1)


def sheet(rows: Pixels) -> Pixels:
    """Images (N, H, W, C) side by side, on about a square; what is left over is black."""
    n, height, width, channels = rows.shape
    columns = math.ceil(math.sqrt(n))
    lines = math.ceil(n / columns)
    cells = np.zeros((lines * columns, height, width, channels), np.uint8)
    cells[:n] = rows
    laid = cells.reshape(lines, columns, height, width, channels).swapaxes(1, 2)
    return laid.reshape(lines * height, columns * width, channels)


def squeezed(picture: Pixels) -> Pixels:
    """(H, W, C) as codecs take it: (H, W) of one channel."""
    return np.ascontiguousarray(picture[..., 0] if picture.shape[-1] == 1 else picture)


def _png(picture: Pixels) -> int:
    return bytes_of(picture, "PNG", optimize=True)


def _webp(picture: Pixels) -> int:
    return bytes_of(picture, "WEBP", lossless=True, quality=100, method=6)


def bytes_of(picture: Pixels, kind: str, **options: object) -> int:
    """Of a file that Pillow writes."""
    return len(saved(picture, kind, **options))


def saved(picture: Pixels, kind: str, **options: Any) -> bytes:
    """A file that Pillow writes."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def _jpeg_xl(picture: Pixels) -> int:
    import imagecodecs

    efforts = (7, 9) if picture.size <= MOST_AT_EFFORT_9 else (7,)
    return min(
        len(imagecodecs.jpegxl_encode(picture, lossless=True, effort=effort)) for effort in efforts
    )
