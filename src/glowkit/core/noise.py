"""Noise: the only place where random numbers are drawn, and where temperature acts."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

import torch
from torch import Tensor


class Midpoint(Enum):
    """Stands in for a generator where the median of the noise is wanted instead of a draw."""

    MIDPOINT = "midpoint"


MIDPOINT = Midpoint.MIDPOINT

Generator = torch.Generator | Literal[Midpoint.MIDPOINT] | None
"""Where randomness comes from: a `torch.Generator`, torch's global one (None), or `MIDPOINT`."""


@dataclass(frozen=True)
class NoiseSpec:
    """One tensor of whitened noise: its shape without the batch, and its standard distribution."""

    shape: tuple[int, ...]
    distribution: Literal["normal", "logistic"] = "normal"


def draw(
    spec: NoiseSpec,
    n: int,
    like: Tensor,
    temperature: float | Tensor = 1.0,
    generator: Generator = None,
) -> Tensor:
    """Draw (n, *spec.shape) standard noise, times the temperature (a number, or one per example).

    Temperature 0, or the generator `MIDPOINT`, gives the median, which is 0.

    >>> draw(NoiseSpec((2,)), 3, torch.zeros(()), generator=MIDPOINT).tolist()
    [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """
    shape = (n, *spec.shape)
    if generator is MIDPOINT:
        return torch.zeros(shape, dtype=like.dtype, device=like.device)
    source = like.device if generator is None else generator.device
    if spec.distribution == "normal":
        noise = torch.randn(shape, dtype=like.dtype, device=source, generator=generator)
    else:
        uniform = torch.rand(shape, dtype=like.dtype, device=source, generator=generator)
        noise = torch.logit(uniform, eps=torch.finfo(like.dtype).tiny)
    scale = torch.as_tensor(temperature, dtype=like.dtype, device=like.device)
    return noise.to(like.device) * scale.reshape(-1, *[1] * len(spec.shape))
