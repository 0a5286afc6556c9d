"""Dequantize: integers in, a lower bound on their log-probability out."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from glowkit.core import (
    MIDPOINT,
    Density,
    Generator,
    GlowkitError,
    LogPKind,
    NoiseSpec,
    weakest,
)
from glowkit.core.bijection import being_captured, whole
from glowkit.core.checking import (
    check_context,
    check_device,
    check_generator,
    check_log_q,
    check_model,
    check_noises,
    check_tensor,
)
from glowkit.core.finite import finite_examples


def inside(levels: int, dtype: torch.dtype = torch.float32) -> float:
    """How far u stays from 0 and 1: 2·levels roundings of a dtype."""
    return 2 * levels * torch.finfo(dtype).eps


class Dequantize(Density):
    """A density of integers 0..n−1, made from a continuous density of v = (x + u) / n in [0, 1).

    u in (0, 1) is drawn from `noise` given the image; by Jensen's inequality
    log P(x) ≥ E[log p(v) − log q(u | x)] − D ln n, and `encode` returns one draw of the right-hand
    side, in nats, (N,). `decode` returns x = ⌊n v⌋ and the same quantity at the u it finds,
    which for a sample under variational noise may be far from any u that q would draw.
    Integers cannot say that v is not finite: such values are 0, and log p is NaN for exactly the
    images that have any. Where v is finite and log p overflows it is −∞, which is a lower bound.
    With the generator `MIDPOINT`, u is ½, for exact and repeatable latents of real images.
    Noises are those of the continuous density. Shapes: (N, C, H, W) integers; decoded images are
    uint8 up to 256 levels and int32 beyond. Source: Theis et al. 2016; Flow++, section 3.1.

    u is kept m = 2·levels roundings away from 0 and 1, so that x + u is never in the next bin.
    Uniform draws beyond are moved to the edge; that changes the mean of log p(v) by about m² times
    its slope across a bin, which is nothing. A learned noise density must stay inside by itself.

    Args:
        noise: density of u, on the unit cube; its context is the image scaled to [−½, ½).
        density: the continuous density.
        levels: n, from 2 to 65536.

    Raises:
        GlowkitError: for levels out of range, values outside 0..n−1, a wrong shape, or a noise
            whose log q is itself only bounded: − log q would then be bounded from above.

    >>> from glowkit.densities import StandardNormal, Uniform
    >>> model = Dequantize(Uniform((1, 2, 2)), StandardNormal((1, 2, 2)), levels=4)
    >>> noises, log_p = model.encode(torch.tensor([[[[0, 1], [2, 3]]]]))
    >>> model.decode(noises)[0].flatten().tolist()
    [0, 1, 2, 3]
    """

    shape: tuple[int, ...]
    levels: int

    def __init__(self, noise: Density, density: Density, levels: int) -> None:
        super().__init__()
        check_levels(levels)
        check_log_q(noise, noise.log_p_kind, "dequantization")
        self.noise = noise
        self.density = density
        self.levels = levels
        self.shape = noise.noise_specs()[0].shape
        self.classes = density.classes

    @property
    def reads_context(self) -> bool:
        return self.density.reads_context

    @property
    def log_p_kind(self) -> LogPKind:
        return weakest("bound", self.noise.log_p_kind, self.density.log_p_kind)

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        check_images(x, self.shape, self.levels, self.anchor)
        check_context(self, context)
        check_generator(generator)
        values = x.to(self.anchor.dtype)
        image = values / self.levels - 0.5
        if generator is MIDPOINT:
            u = torch.full_like(values, 0.5)
            _, log_q = self.noise.encode(u, image)
        else:
            noise = self.noise.draw_noises(x.shape[0], generator=generator)
            u, log_q = self.noise.decode(noise, image)
        noises, log_p = self.density.encode(
            (values + self._inside(u)) / self.levels, context, generator
        )
        return noises, log_p - log_q - self._log_volume()

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        check_noises(noises, self.noise_specs(), self.anchor)
        check_context(self, context)
        v, log_p = self.density.decode(noises, context)
        finite = finite_examples(v)
        scaled = torch.where(v.isfinite(), v, 0) * self.levels
        values = scaled.floor().clamp(0, self.levels - 1)
        u = self._inside(scaled - values)
        _, log_q = self.noise.encode(u, values / self.levels - 0.5)
        integers = values.to(torch.uint8 if self.levels <= 256 else torch.int32)
        bound = log_p - log_q - self._log_volume()
        bound = torch.where(bound.isnan(), -torch.inf, bound)
        return integers, torch.where(finite, bound, torch.nan)

    def noise_specs(self) -> list[NoiseSpec]:
        return self.density.noise_specs()

    def _log_volume(self) -> float:
        return math.prod(self.shape) * math.log(self.levels)

    def _inside(self, u: Tensor) -> Tensor:
        margin = inside(self.levels, u.dtype)
        return u.clamp(margin, 1 - margin)

    def extra_repr(self) -> str:
        return f"{self.levels} levels"


def check_levels(levels: int) -> None:
    """Refuse what is no number of pixel levels."""
    if type(levels) is bool or levels not in range(2, 65537):
        raise GlowkitError(f"pixel_levels is {levels!r}; it must be from 2 to 65536")


def check_images(x: Tensor, shape: Sequence[int], levels: int, anchor: Tensor) -> None:
    """Refuse what is not a batch of images of this shape, of integers from 0 to levels − 1."""
    check_model(anchor)
    check_tensor(x, "images")
    if tuple(x.shape[1:]) != tuple(shape):
        raise GlowkitError(
            f"images have shape {tuple(x.shape[1:])} (channels, height, width), but this model"
            f" takes {tuple(shape)}"
        )
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise GlowkitError(
            f"images must be integers from 0 to {levels - 1}, not {x.dtype}; scale floats"
            " back to integers first, and convert truth values with .to(torch.uint8)"
        )
    check_device(x, anchor)
    if being_captured(x):
        return
    # As Python integers: in uint8, 255 < 256 is false.
    low, high = (int(bound) for bound in whole(x).aminmax())
    if low < 0 or high >= levels:
        raise GlowkitError(
            f"images hold values from {low} to {high}, but this model has"
            f" {levels} levels, 0 to {levels - 1}"
        )
