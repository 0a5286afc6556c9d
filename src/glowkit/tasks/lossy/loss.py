"""The loss that makes a flow a good transform for coding: bits, and squared error worth bits."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from glowkit.core import Density, Generator, GlowkitError, NoiseSpec, sum_per_example
from glowkit.core.noise import draw
from glowkit.densities import Dequantize
from glowkit.tasks.lossy.quantise import (
    bits,
    check_lossy,
    closed_loop,
    rounded,
    unrounded,
    whole_pixels,
)
from glowkit.tasks.lossy.settings import LossySettings

WORTH = 6 / math.log(2)
"""λ times the square of a step, in bits for a squared error in pixel levels.

At a high rate one more bit divides a step's error, a twelfth of its square, by 4, so that an error
is worth 6 / (step² ln 2) bits. With this one transform is best for every step, and it is the one in
which a latent's unit is a pixel level.
"""

FAR = 16.0
"""Bits a dimension beyond which a loss counts by its logarithm."""


@dataclass(frozen=True)
class Draws:
    """What is drawn for images: a step in pixel levels, (N, 1, 1, 1), and U(−½, ½) for latents."""

    levels: Tensor
    noises: list[Tensor]

    def __getitem__(self, rows: Tensor) -> "Draws":
        """Those of some of the images."""
        return Draws(self.levels[rows], [noise[rows] for noise in self.noises])


def draws(model: Density, n: int, settings: LossySettings, generator: Generator = None) -> Draws:
    """Those of n images: steps log-uniform from the finest to the coarsest."""

    def uniform(shape: tuple[int, ...]) -> Tensor:
        # Made of normal draws, which are those that ranks know how to share.
        return torch.special.ndtr(draw(NoiseSpec(shape), n, model.anchor, 1.0, generator))

    assert isinstance(model, Dequantize)
    levels = settings.finest * (settings.coarsest / settings.finest) ** uniform((1, 1, 1))
    return Draws(levels, [uniform(spec.shape) - 0.5 for spec in model.density.noise_specs()[::-1]])


def rate_distortion(
    model: Density, images: Tensor, unit: float, drawn: Draws, context: Tensor | None = None
) -> Tensor:
    """Bits and squared error of images at steps that were drawn, (N,), in bits a dimension.

    L = (Σ −log₂ P(z̃ − μ) + 6 / (Δ² ln 2) ‖x − x̂‖²) / D with z̃ = z + Δ U(−½, ½) in the place of
    rounding, x at the middle of its pixels, and x̂ = g(z̃), both in pixel levels. At a high rate
    an error of Δ²/12 is worth 0.72 bits/dim. Beyond 16, L counts as 16 (1 + ln L/16): of a model
    that was trained for its likelihood alone some decoded images are far out, and one of them
    would be all of the gradient. NaN where the decoder overflows.
    Source: Ballé et al., ICLR 2017, for the noise; Helminger et al. 2020 (arXiv 2008.10486) for
    flows. λ is ours.

    Raises:
        GlowkitError: for a model that has no latents of a mean and deviation.
    """
    assert isinstance(model, Dequantize)
    step, noises = unit * drawn.levels, iter(drawn.noises)
    v = (images.to(model.anchor) + 0.5) / model.levels
    again, latents = closed_loop(
        model.density, v, context, lambda residual: residual + step * next(noises)
    )
    rate = torch.stack([sum_per_example(bits(latent, step)) for latent in latents]).sum(0)
    error = sum_per_example(((again - v) * model.levels / drawn.levels).square())
    return _tamed((rate + WORTH * error) / math.prod(model.shape))


def round_trip(
    model: Density, images: Tensor, unit: float, drawn: Draws, context: Tensor | None = None
) -> Tensor:
    """Mean squares, in steps, of what rounding to pixels moves latents of decoded images by, (N,).

    ‖f(⌊ŷ⌋) − f(ŷ)‖² / (D Δ²), with ŷ = g(ẑ) the image of rounded latents and ⌊ŷ⌋ its whole
    pixels, clamped to the levels there are. A code stays as it is when the image is coded again
    where none of its latents moves by half a step. ŷ is held fixed: the gradient asks of f not to
    magnify what is rounded off. Counted as `rate_distortion` beyond 16; NaN where the decoder
    overflows. Cost: an evaluation of the flow and of its inverse without gradients, and two with.

    Raises:
        GlowkitError: for a model that has no latents of a mean and deviation.
    """
    assert isinstance(model, Dequantize)
    step = unit * drawn.levels
    with torch.no_grad():
        v = (images.to(model.anchor) + 0.5) / model.levels
        again, _ = closed_loop(model.density, v, context, rounded(step))
        pixels = (whole_pixels(again, model.levels) + 0.5) / model.levels
    both = None if context is None else torch.cat([context, context])
    latents = unrounded(model.density, torch.cat([pixels, again]), both)
    moved = [z[: len(v)] - z[len(v) :] for z in latents]
    square = torch.stack([sum_per_example((each / step).square()) for each in moved]).sum(0)
    return _tamed(square / math.prod(model.shape))


def _tamed(loss: Tensor) -> Tensor:
    return torch.where(loss > FAR, FAR * (1 + torch.log(loss.clamp(min=FAR) / FAR)), loss)


@torch.no_grad()
def unit_of(model: Density, images: Tensor, context: Tensor | None = None) -> float:
    """The units of a latent that a pixel level is: |det dz/dx|^(1/D), its mean in logarithms.

    Found from log p(z) and the deviations: ladj = log p(v) − Σ ln N(z; μ, σ²).

    Raises:
        GlowkitError: for a model that has no latents, or whose Jacobian is no number.
    """
    check_lossy(model)
    assert isinstance(model, Dequantize)
    v = (images.to(model.anchor) + 0.5) / model.levels
    noises, log_p = model.density.encode(v, context)
    _, latents = closed_loop(model.density, v, context, lambda residual: residual)
    ladj = log_p
    for noise in noises:
        ladj = ladj + 0.5 * sum_per_example(noise.square() + math.log(2 * math.pi))
    for latent in latents:
        ladj = ladj + sum_per_example(latent.log_std.expand_as(latent.residual))
    unit = float((ladj.double().mean() / math.prod(model.shape)).exp()) / model.levels
    if not 0 < unit < math.inf:
        raise GlowkitError("the model's latents of these images are no numbers; train it longer")
    return unit
