"""Evaluation: the figures that are worth quoting about a model."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glowkit.core import Density, Generator, GlowkitError
from glowkit.tasks.likelihood import bits_per_dim, levels_of
from glowkit.tasks.reconstruction import largest_pixel_error, reconstruct


@dataclass(frozen=True)
class Evaluation:
    """A model's figures on a set of images.

    bits_per_dim: the mean over images, an upper bound; standard_error: of that mean.
    levels: integers a pixel can be, without which bits/dim means nothing.
    largest_pixel_error: of decode(encode(x)), in levels; 0 for a model that inverts.
    """

    bits_per_dim: float
    standard_error: float
    images: int
    levels: int
    importance_samples: int
    largest_pixel_error: int


def evaluate(
    model: Density,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    importance_samples: int = 1,
    generator: Generator = None,
) -> Evaluation:
    """Evaluate a model on every image of the batches (images, context); none is dropped.

    Raises:
        GlowkitError: when there is no image.
    """
    bits, error = measure(model, batches, importance_samples, generator)
    return summary(model, bits, error, importance_samples)


@torch.no_grad()
def measure(
    model: Density,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    importance_samples: int = 1,
    generator: Generator = None,
) -> tuple[Tensor, int]:
    """Bits/dim of each image, (N,) in float64, and the largest pixel error of any."""
    each: list[Tensor] = []
    error = 0
    for batch in batches:
        if not isinstance(batch, Sequence) or len(batch) != 2:
            raise GlowkitError(
                "batches must be pairs (images, context), the context None for a model without;"
                " give [(images, None)] for one batch"
            )
        images, context = batch
        bits = bits_per_dim(model, images, context, generator, importance_samples)
        each.append(bits.double().cpu())
        again = reconstruct(model, images, context)
        error = max(error, largest_pixel_error(images, again))
    if not each:
        raise GlowkitError("there are no images to evaluate")
    return torch.cat(each), error


def summary(model: Density, bits: Tensor, error: int, importance_samples: int) -> Evaluation:
    """The figures of what `measure` returned."""
    spread = bits.std().item() if len(bits) > 1 else math.nan
    return Evaluation(
        bits_per_dim=bits.mean().item(),
        standard_error=spread / math.sqrt(len(bits)),
        images=len(bits),
        levels=levels_of(model),
        importance_samples=importance_samples,
        largest_pixel_error=error,
    )
