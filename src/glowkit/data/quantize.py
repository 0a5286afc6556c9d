"""Fewer levels a pixel, as the papers' 5-bit experiments have it."""

import torch
from torch import Tensor

from glowkit.core.errors import GlowkitError


def requantize(images: Tensor, from_levels: int, to_levels: int) -> Tensor:
    """floor(x * to_levels / from_levels), as openai/glow's `preprocess` keeps the top 5 of 8 bits.

    images: whole numbers in 0 .. from_levels - 1, any shape and integer dtype. Returns the same
    shape with levels 0 .. to_levels - 1, uint8 when these fit; `images` itself when the levels
    are equal. Raises GlowkitError when to_levels is larger, below 2 or does not divide
    from_levels (bins of unequal width would bias the likelihood), or for fractional images.

    >>> requantize(torch.tensor([0, 7, 8, 255], dtype=torch.uint8), 256, 32)
    tensor([ 0,  0,  1, 31], dtype=torch.uint8)
    """
    if images.is_floating_point():
        raise GlowkitError(
            f"images of dtype {images.dtype} cannot be requantized: give whole-number pixels"
        )
    if to_levels == from_levels:
        return images
    if to_levels < 2 or to_levels > from_levels or from_levels % to_levels:
        raise GlowkitError(
            f"pixels of {from_levels} levels cannot be brought to {to_levels}: the pixel_levels of"
            f" the model must be at least 2 and divide {from_levels}"
        )
    reduced = torch.div(images, from_levels // to_levels, rounding_mode="floor")
    return reduced.to(torch.uint8) if to_levels <= 256 else reduced
