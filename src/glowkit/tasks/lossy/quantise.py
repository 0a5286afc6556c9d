"""Latents of a flow rounded to a step, in the order they are decoded, and the bits they take.

The latents z of a multi-scale flow are not whitened here: z ~ N(μ, σ²), with μ and σ of what is
decoded before. Rounding z − μ to multiples of one step Δ costs hardly anything where σ ≪ Δ, which
is what reverse water-filling asks for; rounding whitened noise would cost the same everywhere.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from glowkit import densities as of
from glowkit.core import Density, GlowkitError
from glowkit.densities.priors import LOG_2PI, Prior

FLOOR = 0.1
"""Of a deviation, in steps, to which it is added in quadrature: a bin cannot be surer than that."""

Rounding = Callable[[Tensor], Tensor]
"""From a latent's place beside its mean to what stands for it, both (N, ...)."""


@dataclass(frozen=True)
class Latent:
    """A latent as it is coded: its place from the mean, and ln σ, which broadcasts to it."""

    residual: Tensor
    log_std: Tensor


def rounded(step: Tensor) -> Rounding:
    """To the nearest multiple of a step, which broadcasts."""
    return lambda residual: step * torch.floor(residual / step + 0.5)


def closed_loop(
    density: Density, x: Tensor, context: Tensor | None, rounding: Rounding
) -> tuple[Tensor, list[Latent]]:
    """x through its rounded latents and back, and those latents, the first to be decoded first.

    The deepest latent is rounded first; then the flow is inverted to the split above, and the mean
    and deviation of that split's latent are those that a decoder will see. Differentiable where the
    rounding is. Shapes: x (N, *shape). Cost: one evaluation of the flow and one of its inverse.

    Raises:
        GlowkitError: for a density in which a latent has no mean and deviation.

    >>> from glowkit.densities import StandardNormal
    >>> x, latents = closed_loop(
    ...     StandardNormal((2,)), torch.tensor([[0.2, 0.9]]), None, rounded(torch.tensor(0.5))
    ... )
    >>> x
    tensor([[0., 1.]])
    """
    if isinstance(density, of.Then):
        y, _ = density.bijection(x, context)
        y, latents = closed_loop(density.density, y, context, rounding)
        return density.bijection.inverse(y, context)[0], latents
    if isinstance(density, of.Split):
        x1, x2 = x[:, : density.kept], x[:, density.kept :]
        x1, latents = closed_loop(density.deeper, x1, context, rounding)
        mean, log_std = density.mean_and_log_std(x1, context)
        residual = rounding(x2 - mean)
        return torch.cat([x1, mean + residual], dim=1), [*latents, Latent(residual, log_std)]
    if isinstance(density, of.Classified):
        return closed_loop(density.prior, x, context, rounding)
    if isinstance(density, of.WithLabels | of.WithVectors | of.WithContext):
        return closed_loop(density.density, x, density.given(context, len(x)), rounding)
    if isinstance(density, of.StandardNormal | of.TopPrior | of.ConditionalNormal):
        mean, log_std = density.mean_and_log_std(context)
        residual = rounding(x - mean)
        return mean + residual, [Latent(residual, log_std)]
    raise no_latents(density)


def unrounded(density: Density, x: Tensor, context: Tensor | None) -> list[Tensor]:
    """The latents of x as they are, in the order of `closed_loop`.

    Shapes: x (N, *shape). Cost: one evaluation of the flow.
    """
    if isinstance(density, of.Then):
        return unrounded(density.density, density.bijection(x, context)[0], context)
    if isinstance(density, of.Split):
        x1, x2 = x[:, : density.kept], x[:, density.kept :]
        return [*unrounded(density.deeper, x1, context), x2]
    if isinstance(density, of.Classified):
        return unrounded(density.prior, x, context)
    if isinstance(density, of.WithLabels | of.WithVectors | of.WithContext):
        return unrounded(density.density, x, density.given(context, len(x)))
    return [x]


@torch.no_grad()
def at_step(model: Density, images: Tensor, step: float, context: Tensor | None = None) -> Tensor:
    """Images as they are decoded at a step, in the units of latents; in floats, not for files.

    Values of images that could not be computed are 0. Shapes: (N, C, H, W) integers to the same.

    Raises:
        GlowkitError: for a model that has no latents of a mean and deviation.
    """
    check_lossy(model)
    assert isinstance(model, of.Dequantize)
    v = (images.to(model.anchor) + 0.5) / model.levels
    rounding = rounded(torch.as_tensor(step).to(v))
    again, _ = closed_loop(model.density, v, context, rounding)
    return whole_pixels(again.nan_to_num(0.0, 0.0, 0.0), model.levels).to(images.dtype)


def whole_pixels(v: Tensor, levels: int) -> Tensor:
    """The pixels, still floats, that values of [0, 1) stand for; others are at the nearer end."""
    return (v * levels).floor().clamp(0, levels - 1)


def no_latents(part: Density) -> GlowkitError:
    """The sentence for a density that latents of a step cannot be taken from."""
    return GlowkitError(
        f"{type(part).__name__} has no mean and deviation of its latents, so that a model with it"
        " cannot code with loss; use a glow, whose splits and top prior have them"
    )


def check_lossy(model: Density) -> None:
    """Refuse a model whose latents cannot be rounded to good effect.

    Raises:
        GlowkitError: for a model that does not dequantize images, such as one of points or one
            without latents, and for one whose priors know nothing of what is decoded.
    """
    if any(isinstance(part, of.Ordinal) for part in model.modules()):
        raise GlowkitError(
            "an autoregressive model with an ordinal head has no latents, whose rounding is the"
            " loss; code with another family, such as Glow"
        )
    if not isinstance(model, of.Dequantize) or len(model.shape) != 3:
        raise GlowkitError(
            "coding with loss needs a flow that dequantizes images, and this model is not one;"
            " use a glow"
        )
    if not any(isinstance(part, of.ConditionalNormal | of.TopPrior) for part in model.modules()):
        raise GlowkitError(
            "coding with loss needs a Split with a learned prior or a learned top prior, and this"
            " model has neither; use a glow"
        )
    for part in model.density.modules():
        if isinstance(part, Prior) and not hasattr(part, "mean_and_log_std"):
            raise no_latents(part)


def bits(latent: Latent, step: Tensor) -> Tensor:
    """−log₂ of the probability of the bin around a residual, elementwise.

    P = Φ((Δ/2 − |r|) / s) − Φ((−Δ/2 − |r|) / s) with s² = σ² + (0.1 Δ)², through ln Φ, so that
    neither bits nor their gradients are lost far out in the tails.

    >>> latent = Latent(torch.tensor([0.0, 3.0]), torch.zeros(()))
    >>> [round(value, 3) for value in bits(latent, torch.ones(())).tolist()]
    [1.391, 7.338]
    """
    std = torch.hypot(latent.log_std.exp(), FLOOR * step)
    away = latent.residual.abs()
    near, far = _log_phi((step / 2 - away) / std), _log_phi((-step / 2 - away) / std)
    return -(near + torch.log(-torch.expm1(far - near))) / math.log(2)


TAIL = -50.0


def _log_phi(x: Tensor) -> Tensor:
    """ln Φ(x); below −50 as −x²/2 − ln(−x √(2π)): torch's gradients go wrong in float32 at −500."""
    within = torch.special.log_ndtr(x.clamp(min=TAIL))
    beyond = x.clamp(max=TAIL)
    return torch.where(x > TAIL, within, -0.5 * (beyond.square() + LOG_2PI) - torch.log(-beyond))
