"""The uniform density on the unit cube, with its noise written as normal draws."""

from collections.abc import Sequence

import torch
from torch import Tensor

from glowkit.core import Density, Generator, NoiseSpec, constant_ladj, nan_where_broken


class Uniform(Density):
    """Independent U(0, 1) in every dimension: log p = 0. Noise eps = Φ⁻¹(x), x = Φ(eps).

    Φ is the normal distribution function, so zero noise is the middle, ½. Shapes: (N, *shape).

    >>> Uniform((1,)).decode([torch.zeros(1, 1)])[0].item()
    0.5
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        return [torch.special.ndtri(x)], nan_where_broken(x, constant_ladj(x))

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        (eps,) = noises
        x = torch.special.ndtr(eps)
        return x, nan_where_broken(x, constant_ladj(x))

    def noise_specs(self) -> list[NoiseSpec]:
        return [NoiseSpec(self.shape)]
