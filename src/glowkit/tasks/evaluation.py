"""How good a model is: bits/dim of a split, and reconstruction to the pixel."""

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glowkit.core import MIDPOINT, Density, Generator, GlowkitError, LogPKind, frozen
from glowkit.core.finite import warn_of_broken
from glowkit.densities import noise_of
from glowkit.tasks.latent import decoded
from glowkit.tasks.likelihood import drawn_log_p, in_its_unit, levels_of, mean_of_draws, unit_of

REMEDY = "use float64, or train the model longer"
"""What helps where the reconstruction of a real image overflows."""


@torch.no_grad()
def reconstruct(model: Density, images: Tensor, context: Tensor | None = None) -> Tensor:
    """decode(encode(x)), with dequantization at the middle of each bin: x itself, if all is well.

    Shapes: (N, C, H, W) integers to the same. What is lost is lost to rounding, so the difference
    measures how invertible a trained model is in its dtype. Warns (GlowkitWarning) of images that
    could not be computed, which hold zeros.
    """
    again, broken = reconstruction(model, images, context)
    warn_of_broken(again, broken, REMEDY)
    return again


@torch.no_grad()
def reconstruction(
    model: Density, images: Tensor, context: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`reconstruct`, and which of the images could not be computed, (N,) bool."""
    noises, _ = model.encode(images, context, MIDPOINT)
    return decoded(model, noises, context)


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
    worst = in_its_unit(model, model.encode(lost, own, MIDPOINT)[1], lost).max().item()
    if error:
        return (
            f"In float64 it is {'not known' if math.isnan(error) else error}, so that rounding is"
            " not all: the model does not invert here, or is broken."
        )
    return (
        "In float64 it is 0: the model inverts, and float32 rounds too coarsely for an image this"
        f" far from those it was trained on ({worst:.1f} {unit_of(model)})."
    )


def error_text(error: float, levels: int) -> str:
    """A largest pixel error as a person reads it.

    >>> error_text(0, 256)
    '0 of 255'
    """
    return "not known" if math.isnan(error) else f"{error} of {levels - 1}"


@dataclass(frozen=True)
class Evaluation:
    """A model's figures on a set of images.

    bits_per_dim: the mean over images; standard_error: of that mean. kind: what it is, "exact", a
    "bound" from above or an "estimate". draws: averaged of an estimate.
    levels: integers a pixel can be, without which bits/dim means nothing.
    largest_pixel_error: of decode(encode(x)), in levels; 0 for a model that inverts, NaN where
    any image could not be decoded. broken_images: how many could not. round_trip_images: how many
    of the images were encoded and decoded again for these. not_finite_images: how many have a
    bits/dim that is not finite, so that the mean is not either.
    """

    bits_per_dim: float
    standard_error: float
    images: int
    levels: int
    importance_samples: int
    largest_pixel_error: int | float
    broken_images: int
    round_trip_images: int
    not_finite_images: int
    kind: LogPKind
    draws: int


@dataclass(frozen=True)
class NoisyEvaluation:
    """A model's figures on a set of images under the noise that it was trained with.

    noisy_nll_nats: the mean of −log p of a noisy image, in nats of all its pixels, which are in
    [−1, 1]: no bits/dim. noise_deviation: of the noise, without which it means nothing. The others
    are those of `Evaluation`.
    """

    noisy_nll_nats: float
    standard_error: float
    noise_deviation: float
    images: int
    levels: int
    largest_pixel_error: int | float
    broken_images: int
    round_trip_images: int
    not_finite_images: int
    kind: LogPKind
    draws: int


@dataclass(frozen=True)
class Measured:
    """Of each image, bits/dim in float64, the pixel error, and whether it could not be decoded.

    Bits are nats where log p is of noisy images. Three tensors (N,), the latter two shorter where
    fewer were decoded; drawn: the figure of each
    batch by draws, (K, n).
    """

    bits: Tensor
    error: Tensor
    broken: Tensor
    drawn: Sequence[Tensor]


def evaluate(
    model: Density,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    importance_samples: int = 1,
    generator: Generator = None,
    round_trips: Iterable[tuple[Tensor, Tensor | None]] | None = None,
    draws: int = 1,
) -> Evaluation | NoisyEvaluation:
    """Evaluate a model on every image of the batches (images, context); none is dropped.

    In nats where log p is of noisy images.

    round_trips: some of the images again, to be encoded and decoded instead of all: decoding can
    take several times as long as bits/dim. draws: of an estimated log p, whose logarithms are
    averaged.

    Raises:
        GlowkitError: when there is no image, or for importance samples of what is no bound, or
            draws of what is no estimate.
    """
    measured = measure(model, batches, importance_samples, generator, round_trips, draws)
    return summary(model, measured, importance_samples)


@torch.no_grad()
def measure(
    model: Density,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    importance_samples: int = 1,
    generator: Generator = None,
    round_trips: Iterable[tuple[Tensor, Tensor | None]] | None = None,
    draws: int = 1,
) -> Measured:
    """What `evaluate` sums up, of each image.

    No more of `round_trips` are taken than there are images in the batches. The error is the
    largest of an image's values, and means nothing for a broken one.
    """
    levels_of(model)
    drawn: list[Tensor] = []
    decoded_again: list[tuple[Tensor, Tensor]] = []
    with frozen(model):
        for batch in batches:
            if not isinstance(batch, Sequence) or len(batch) != 2:
                raise GlowkitError(
                    "batches must be pairs (images, context), the context None for a model without;"
                    " give [(images, None)] for one batch"
                )
            images, context = batch
            log_p = drawn_log_p(model, images, context, generator, importance_samples, draws)
            drawn.append(in_its_unit(model, log_p, images).double().cpu())
            if round_trips is None:
                decoded_again.append(_round_trip(model, images, context))
        left = sum(batch.shape[1] for batch in drawn)
        if not left:
            raise GlowkitError("there are no images to evaluate")
        for images, context in round_trips or ():
            context = None if context is None else context[:left]
            decoded_again.append(_round_trip(model, images[:left], context))
            left -= len(decoded_again[-1][0])
            if not left:
                break
    error, broken = (torch.cat(parts) for parts in zip(*decoded_again, strict=True))
    return Measured(torch.cat([batch.mean(0) for batch in drawn]), error, broken, drawn)


def _round_trip(model: Density, images: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """The largest error of each image, in levels, and whether it could not be decoded."""
    again, broken = reconstruction(model, images, context)
    return (images.long() - again.long()).abs().flatten(1).amax(1).cpu(), broken.cpu()


def summary(
    model: Density, measured: Measured, importance_samples: int
) -> Evaluation | NoisyEvaluation:
    """The figures of what `measure` returned."""
    mean, standard_error = mean_of_draws(measured.drawn)
    bits, error, broken = measured.bits, measured.error, measured.broken
    others: dict[str, Any] = {
        "standard_error": standard_error,
        "images": len(bits),
        "levels": levels_of(model),
        "largest_pixel_error": math.nan if broken.any() else int(error.max()),
        "broken_images": int(broken.sum()),
        "round_trip_images": len(error),
        "not_finite_images": int((~bits.isfinite()).sum()),
        "kind": model.log_p_kind,
        "draws": len(measured.drawn[0]),
    }
    if deviation := noise_of(model):
        return NoisyEvaluation(noisy_nll_nats=mean, noise_deviation=deviation, **others)
    return Evaluation(bits_per_dim=mean, importance_samples=importance_samples, **others)
