"""How complex an image is by itself: its size in the best of some general lossless formats."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.tasks.coding.classical import bytes_of

Codec = Callable[[np.ndarray], int]
"""Bytes of an array of uint8, (H, W), or (H, W, 3) or (H, W, 4)."""


@cache
def codecs() -> dict[str, Codec]:
    """The formats that can be written here, by name.

    PNG and WebP come with Pillow; JPEG XL with `pip install 'glowkit[codec]'` (imagecodecs).
    """
    from PIL import features

    found: dict[str, Codec] = {"PNG": _png}
    if features.check("webp"):
        found["WebP"] = _webp
    try:
        import imagecodecs
    except ImportError:
        return found
    if imagecodecs.JPEGXL.available:
        found["JPEG XL"] = lambda pixels: len(imagecodecs.jpegxl_encode(pixels, lossless=True))
    return found


def _png(pixels: np.ndarray) -> int:
    return bytes_of(pixels, "PNG", optimize=True)


def _webp(pixels: np.ndarray) -> int:
    # Exact: colours where an image is transparent are values like others.
    return bytes_of(pixels, "WEBP", lossless=True, quality=100, exact=True)


def complexities(images: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Bits/dim of each image in the format that makes it shortest, and which of `codecs()` that is.

    From every size goes that of a constant image of the same shape, header included: else small
    images would be ranked by a header. Values are written as bytes; those of more than 256 levels
    as an image of their high and one of their low bytes. Images of neither 1, 3 nor 4 channels have
    them one below the other. Shapes: (N, C, H, W) integers to (N,) float64 and (N,) int64.
    Source: Serrà et al. 2020, section 3.

    Raises:
        GlowkitError: for what is no batch of images.

    >>> plain, noisy = torch.zeros(1, 1, 32, 32).byte(), torch.randint(0, 256, (1, 1, 32, 32))
    >>> bits, _ = complexities(torch.cat([plain, noisy]), 256)
    >>> bits[0].item(), 7 < bits[1].item() < 9
    (0.0, True)
    """
    if images.dim() != 4:
        raise GlowkitError(
            f"complexity is that of images (N, C, H, W), and these have shape {tuple(images.shape)}"
        )
    every = codecs()
    empty = _planes(np.zeros(tuple(images.shape[1:]), np.int64), levels)
    headers = [sum(map(size, empty)) for size in every.values()]
    lengths = np.array(
        [
            [
                sum(map(size, planes)) - header
                for size, header in zip(every.values(), headers, strict=True)
            ]
            for planes in (_planes(image, levels) for image in images.cpu().numpy())
        ]
    )
    bits = torch.from_numpy(8.0 * lengths.min(1) / images[0].numel())
    return bits, torch.from_numpy(lengths.argmin(1))


def _planes(image: np.ndarray, levels: int) -> list[np.ndarray]:
    """An image (C, H, W) as pictures that any of the formats takes."""
    channels, height, width = image.shape
    whole = image.astype(np.int64)
    parts = [whole] if levels <= 256 else [whole >> 8, whole & 255]
    if channels in (3, 4):
        return [part.astype(np.uint8).transpose(1, 2, 0).copy() for part in parts]
    return [part.astype(np.uint8).reshape(channels * height, width) for part in parts]
