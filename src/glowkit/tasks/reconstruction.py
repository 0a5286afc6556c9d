"""Reconstruction: encode real images and decode them again."""

import torch
from torch import Tensor

from glowkit.core import MIDPOINT, Density, GlowkitError


@torch.no_grad()
def reconstruct(model: Density, images: Tensor, context: Tensor | None = None) -> Tensor:
    """decode(encode(x)), with dequantization at the middle of each bin: x itself, if all is well.

    Shapes: (N, C, H, W) integers to the same. What is lost is lost to rounding, so the difference
    measures how invertible a trained model is in its dtype.
    """
    noises, _ = model.encode(images, context, MIDPOINT)
    return model.decode(noises, context)[0]


def largest_pixel_error(images: Tensor, reconstructed: Tensor) -> int:
    """The largest absolute difference of two batches of integer images, in levels.

    Raises:
        GlowkitError: for batches of different shapes.

    >>> largest_pixel_error(torch.tensor([3, 5]), torch.tensor([3, 7]))
    2
    """
    if images.shape != reconstructed.shape:
        raise GlowkitError(
            f"images of shape {tuple(images.shape)} cannot be compared with those of shape"
            f" {tuple(reconstructed.shape)}"
        )
    return int((images.long() - reconstructed.long()).abs().max())
