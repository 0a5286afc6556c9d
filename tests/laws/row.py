"""What the laws are checked on: a row of a table, its module with random weights, its examples.

Each row builds its module with fresh weights; `make` then gives every parameter a random,
non-trivial value, because a zero-initialised layer hides most mistakes.
"""

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from glowkit import densities as d
from glowkit.core import Density, LogPKind, NoiseSpec, initialize, sum_per_example
from glowkit.models.cube import CubeConfig, build_cube
from glowkit.nets.kernels.library import SWITCH

IMAGE = (4, 4, 2)
BATCH = 3
GAIN = 0.03  # random weights of a larger gain lose invertibility with depth, whatever the layer


@dataclass(frozen=True)
class Row:
    """A module to check, the shape of one example, and what else its laws need.

    tolerance: of the float32 round trip. law: of what holds to rounding in float64, larger for an
    integrator. kind: of log p. discrete: how many whole numbers, from 0 on, a value of x can be; 0
    where x is continuous.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    context: tuple[int, ...] | None = None
    unit_interval: bool = False
    tolerance: float = 2e-5
    law: float = 1e-9
    kind: LogPKind = "exact"
    discrete: int = 0

    def __str__(self) -> str:
        return self.name


def cube(dimensions: int, **settings: Any) -> Density:
    return build_cube(CubeConfig(dimensions, width=8, depth=1, bins=5, **settings))


def make(row: Row, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    """A row's module, initialised from data, its parameters given random values; seeds torch."""
    # Built once for all laws: a copy takes half as long.
    switch = os.environ.get(SWITCH) if dtype == torch.float32 else None
    made = copy.deepcopy(_made(row, dtype, seed, switch))
    torch.manual_seed(seed)
    return made


@cache
def _made(row: Row, dtype: torch.dtype, seed: int, switch: str | None) -> Any:
    """By kernels, or by plain torch, as the switch of float32 says."""
    torch.manual_seed(seed)
    module = row.build().to(dtype)
    x, context = example(row, dtype, n=16)
    density = module if isinstance(module, Density) else d.Then(module, _AnyShape())
    initialize(density, x, context)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(GAIN * torch.randn_like(parameter))
    return module.eval()


class _AnyShape(Density):
    """A normal prior for a bijection under test, whatever shape it gives."""

    def encode(self, x: Tensor, *_: Any) -> tuple[list[Tensor], Tensor]:
        return [x], -0.5 * sum_per_example(x.square())

    def decode(self, noises: Any, *_: Any) -> tuple[Tensor, Tensor]:
        return noises[0], -0.5 * sum_per_example(noises[0].square())

    def noise_specs(self) -> list[NoiseSpec]:
        return []


def example(
    row: Row, dtype: torch.dtype = torch.float64, n: int = BATCH, seed: int = 1
) -> tuple[Tensor, Tensor | None]:
    """A batch for a row: x and its context."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *row.shape, dtype=torch.float64, generator=generator)
    if row.unit_interval:
        x = torch.sigmoid(x)
    if row.discrete:
        x = (torch.special.ndtr(x) * row.discrete).to(torch.uint8)
    context = None
    if row.context is not None:
        context = torch.randn(n, *row.context, dtype=torch.float64, generator=generator).to(dtype)
    return x if row.discrete else x.to(dtype), context
