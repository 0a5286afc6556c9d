"""The uniform density on the unit cube, with its noise written as normal draws."""

from collections.abc import Sequence

import torch
from torch import Tensor

from glowkit.core import (
    Density,
    Generator,
    NoiseSpec,
    constant_ladj,
    nan_where_broken,
    sum_per_example,
)
from glowkit.core.inputs import check_shape


class Uniform(Density):
    """Independent U(0, 1) in every dimension: log p = 0. Noise eps = Φ⁻¹(x), x = Φ(eps).

    Φ is the normal distribution function, so zero noise is the middle, ½. Outside of the cube
    log p = −∞, and the noise is NaN. Shapes: (N, *shape).

    >>> Uniform((1,)).decode([torch.zeros(1, 1)])[0].item()
    0.5
    """

    reads_context = False

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        check_shape(x, self.shape)
        log_p = (0 * x).masked_fill((x < 0) | (x > 1), -torch.inf)
        return [torch.special.ndtri(x)], sum_per_example(log_p)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        (eps,) = noises
        x = torch.special.ndtr(eps)
        return x, nan_where_broken(x, constant_ladj(x))

    def noise_specs(self) -> list[NoiseSpec]:
        return [NoiseSpec(self.shape)]
