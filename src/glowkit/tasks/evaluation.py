"""Evaluation: the figures that are worth quoting about a model."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glowkit.core import Density, Generator, GlowkitError
from glowkit.tasks.likelihood import bits_per_dim, levels_of
from glowkit.tasks.reconstruction import reconstruction


@dataclass(frozen=True)
class Evaluation:
    """A model's figures on a set of images.

    bits_per_dim: the mean over images, an upper bound; standard_error: of that mean.
    levels: integers a pixel can be, without which bits/dim means nothing.
    largest_pixel_error: of decode(encode(x)), in levels; 0 for a model that inverts, NaN where
    any image could not be decoded. broken_images: how many could not. not_finite_images: how many
    have a bits/dim that is not finite, so that the mean is not either.
    """

    bits_per_dim: float
    standard_error: float
    images: int
    levels: int
    importance_samples: int
    largest_pixel_error: int | float
    broken_images: int
    not_finite_images: int


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
    return summary(
        model, *measure(model, batches, importance_samples, generator), importance_samples
    )


@torch.no_grad()
def measure(
    model: Density,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    importance_samples: int = 1,
    generator: Generator = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each image, bits/dim in float64, the pixel error, and whether it could not be decoded.

    Three tensors (N,). The error is the largest of an image's values, and means nothing for a
    broken one.
    """
    each: list[tuple[Tensor, Tensor, Tensor]] = []
    for batch in batches:
        if not isinstance(batch, Sequence) or len(batch) != 2:
            raise GlowkitError(
                "batches must be pairs (images, context), the context None for a model without;"
                " give [(images, None)] for one batch"
            )
        images, context = batch
        bits = bits_per_dim(model, images, context, generator, importance_samples)
        again, broken = reconstruction(model, images, context)
        error = (images.long() - again.long()).abs().flatten(1).amax(1)
        each.append((bits.double().cpu(), error.cpu(), broken.cpu()))
    if not any(len(bits) for bits, _, _ in each):
        raise GlowkitError("there are no images to evaluate")
    bits, error, broken = (torch.cat(parts) for parts in zip(*each, strict=True))
    return bits, error, broken


def summary(
    model: Density, bits: Tensor, error: Tensor, broken: Tensor, importance_samples: int
) -> Evaluation:
    """The figures of what `measure` returned."""
    spread = bits.std().item() if len(bits) > 1 else math.nan
    return Evaluation(
        bits_per_dim=bits.mean().item(),
        standard_error=spread / math.sqrt(len(bits)),
        images=len(bits),
        levels=levels_of(model),
        importance_samples=importance_samples,
        largest_pixel_error=math.nan if broken.any() else int(error.max()),
        broken_images=int(broken.sum()),
        not_finite_images=int((~bits.isfinite()).sum()),
    )
