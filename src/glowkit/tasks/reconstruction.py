"""Reconstruction: encode real images and decode them again."""

import copy
import math

import torch
from torch import Tensor

from glowkit.core import MIDPOINT, Density, GlowkitError
from glowkit.core.finite import broken_examples, warn_of_broken
from glowkit.tasks.likelihood import to_bits_per_dim

REMEDY = "use float64, or train the model longer"
"""What helps where the reconstruction of a real image overflows."""


@torch.no_grad()
def reconstruct(model: Density, images: Tensor, context: Tensor | None = None) -> Tensor:
    """decode(encode(x)), with dequantization at the middle of each bin: x itself, if all is well.

    Shapes: (N, C, H, W) integers to the same. What is lost is lost to rounding, so the difference
    measures how invertible a trained model is in its dtype. Warns (GlowkitWarning) of images that
    could not be computed, which hold zeros.
    """
    noises, _ = model.encode(images, context, MIDPOINT)
    again, log_p = model.decode(noises, context)
    warn_of_broken(again, log_p, REMEDY)
    return again


@torch.no_grad()
def reconstruction(
    model: Density, images: Tensor, context: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`reconstruct`, and which of the images could not be computed, (N,) bool."""
    noises, _ = model.encode(images, context, MIDPOINT)
    again, log_p = model.decode(noises, context)
    return again, broken_examples(again, log_p)


def largest_pixel_error(
    images: Tensor, reconstructed: Tensor, broken: Tensor | None = None
) -> int | float:
    """The largest absolute difference of two batches of integer images, in levels.

    broken: which of the images could not be computed, (N,) bool; of any such the error is NaN.

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
    if broken is not None and bool(broken.any()):
        return math.nan
    return int((images.long() - reconstructed.long()).abs().max())


@torch.no_grad()
def explain_error(
    model: Density, images: Tensor, reconstructed: Tensor, context: Tensor | None = None
) -> str:
    """Why decode(encode(x)) is not x, as a sentence; "" where it is.

    The images that came back wrong go through a copy of the model in float64: what comes back right
    there was lost to float32's rounding, which grows where images are far from those of training.
    Cost: a reconstruction in float64, of these images only.
    """
    wrong = (images != reconstructed.to(images.device)).flatten(1).any(1)
    if not wrong.any():
        return ""
    lost, own = images[wrong], None if context is None else context[wrong]
    error = largest_pixel_error(lost, *reconstruction(copy.deepcopy(model).double(), lost, own))
    bits = to_bits_per_dim(model.encode(lost, own, MIDPOINT)[1], lost).max().item()
    if error:
        return (
            f"In float64 it is {'not known' if math.isnan(error) else error}, so that rounding is"
            " not all: the model does not invert here, or is broken."
        )
    return (
        "In float64 it is 0: the model inverts, and float32 rounds too coarsely for an image this"
        f" far from those it was trained on ({bits:.1f} bits/dim)."
    )
