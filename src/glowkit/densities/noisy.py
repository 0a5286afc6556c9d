"""Noisy: a density of images under normal noise, from which clean images are computed."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from glowkit.core import Density, Generator, GlowkitError, LogPKind, NoiseSpec, nan_where_broken
from glowkit.core.checking import check_context, check_generator, check_noises
from glowkit.core.noise import draw
from glowkit.densities.dequantize import check_images, check_levels


class Noisy(Density):
    """A density of y = c(x) + σ ε with ε ~ N(0, I), of images x of n levels under normal noise.

    c(x) = (2x + 1) / n − 1 are the middles of n bins of [−1, 1]. `encode` draws ε, and log p is
    log p(y), in nats: the density of the *noisy* image. It is no log-probability of x, nor a bound
    on one, and no bits/dim can be made of it; its kind is "estimate", one draw of
    E log p(c(x) + σ ε), which `draws` average. With the generator `MIDPOINT`, ε is 0. `decode`
    gives the level that is nearest to y, noise and all, and log p(y); what y means without its
    noise is `glowkit.tasks.guidance.denoised`. Noises are those of the density inside. Shapes:
    (N, C, H, W) integers; decoded images are uint8 up to 256 levels and int32 beyond. Source: Zhai
    et al. 2024 (TarFlow).

    Args:
        density: of y; it says the shape of an image.
        levels: n, from 2 to 65536.
        deviation: σ, of pixels in [−1, 1]; at most half a bin keeps what a pixel is legible.

    Raises:
        GlowkitError: for levels or a deviation out of range, values outside 0..n−1, or a wrong
            shape.

    >>> from glowkit.core import MIDPOINT
    >>> from glowkit.densities import StandardNormal, Then
    >>> from glowkit.bijections import Scale
    >>> inside = Then(Scale(2.0), StandardNormal((1, 2, 2)), (1, 2, 2))
    >>> model = Noisy(inside, levels=4, deviation=0.1)
    >>> noises, log_p = model.encode(torch.tensor([[[[0, 1], [2, 3]]]]), generator=MIDPOINT)
    >>> model.decode(noises)[0].flatten().tolist()
    [0, 1, 2, 3]
    """

    shape: tuple[int, ...]
    levels: int

    def __init__(self, density: Density, levels: int, deviation: float) -> None:
        super().__init__()
        check_levels(levels)
        if not 0 < deviation < float("inf"):
            raise GlowkitError(f"deviation is {deviation}; noise needs one of more than 0")
        if density.shape is None:
            raise GlowkitError("the density inside Noisy must say its shape")
        self.density = density
        self.levels = levels
        self.deviation = deviation
        self.shape = density.shape
        self.classes = density.classes

    @property
    def reads_context(self) -> bool:
        return self.density.reads_context

    @property
    def log_p_kind(self) -> LogPKind:
        return "estimate"

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        check_images(x, self.shape, self.levels, self.anchor)
        check_context(self, context)
        check_generator(generator)
        noise = draw(NoiseSpec(self.shape), x.shape[0], self.anchor, generator=generator)
        centres = (2 * x.to(self.anchor.dtype) + 1) / self.levels - 1
        return self.density.encode(centres + self.deviation * noise, context, generator)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        check_noises(noises, self.noise_specs(), self.anchor)
        check_context(self, context)
        y, log_p = self.density.decode(noises, context)
        return self.quantized(y), nan_where_broken(y, log_p)

    def quantized(self, y: Tensor) -> Tensor:
        """The nearest levels to values of [−1, 1]; 0 for what is not finite."""
        finite = torch.where(y.isfinite(), y, -1.0)
        values = ((finite + 1) * (self.levels / 2)).floor().clamp(0, self.levels - 1)
        return values.to(torch.uint8 if self.levels <= 256 else torch.int32)

    def noise_specs(self) -> list[NoiseSpec]:
        return self.density.noise_specs()

    def extra_repr(self) -> str:
        return f"{self.levels} levels, noise of {self.deviation:g}"


def noise_of(model: nn.Module) -> float:
    """The deviation of the noise on images that a model's log p is of; 0 for one without noise."""
    return next((part.deviation for part in model.modules() if isinstance(part, Noisy)), 0.0)
