"""Noise: where randomness comes from, and standard draws of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

import torch
from torch import Tensor


class Midpoint(Enum):
    """Stands in for a generator where the median of the noise is wanted instead of a draw."""

    MIDPOINT = "midpoint"


MIDPOINT = Midpoint.MIDPOINT


@dataclass(frozen=True)
class Portion:
    """A generator that draws for `size` examples and keeps what belongs to some `rows` of them.

    So noise belongs to an example's place in a batch, however many processes share the batch.
    """

    generator: torch.Generator
    rows: slice
    size: int


@dataclass(frozen=True)
class OfEach:
    """A generator for each example: noise belongs to an example, whatever its batch."""

    generators: tuple[torch.Generator, ...]


@dataclass(frozen=True)
class Kept:
    """A generator of which every standard draw is kept, in the order in which it was asked for."""

    generator: "torch.Generator | Literal[Midpoint.MIDPOINT] | None"
    drawn: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Handed:
    """Standard draws that were made before, handed out in the order in which they are asked for."""

    noises: Iterator[Tensor]


Generator = torch.Generator | Portion | OfEach | Kept | Handed | Literal[Midpoint.MIDPOINT] | None
"""Where randomness comes from: a `torch.Generator`, a `Portion` of what one draws, one `OfEach`
example, one whose draws are `Kept`, those that are `Handed` in, torch's global one (None), or
`MIDPOINT`."""


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

    Temperature 0 gives the median, 0, and so does `MIDPOINT`.

    >>> draw(NoiseSpec((2,)), 3, torch.zeros(()), generator=MIDPOINT).tolist()
    [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    >>> generators = [torch.Generator().manual_seed(0) for _ in "ab"]
    >>> whole = draw(NoiseSpec((2,)), 3, torch.zeros(()), generator=generators[0])
    >>> second = Portion(generators[1], slice(1, 2), size=3)
    >>> torch.equal(draw(NoiseSpec((2,)), 1, torch.zeros(()), generator=second), whole[1:2])
    True
    >>> each = OfEach(tuple(torch.Generator().manual_seed(seed) for seed in (7, 0)))
    >>> torch.equal(draw(NoiseSpec((2,)), 2, torch.zeros(()), generator=each)[1], whole[0])
    True
    >>> kept = Kept(torch.Generator().manual_seed(0))
    >>> first = draw(NoiseSpec((2,)), 3, torch.zeros(()), generator=kept)
    >>> again = draw(NoiseSpec((2,)), 3, torch.zeros(()), generator=Handed(iter(kept.drawn)))
    >>> torch.equal(first, again)
    True
    """
    noise = _standard(spec, n, like, generator).to(like.device)
    if not isinstance(temperature, int | float):  # which a copy to a GPU would make wait
        scale = torch.as_tensor(temperature, dtype=like.dtype, device=like.device)
        temperature = scale.reshape(-1, *[1] * len(spec.shape))
    return noise * temperature


def _standard(spec: NoiseSpec, n: int, like: Tensor, generator: Generator) -> Tensor:
    if isinstance(generator, Portion):
        noise = _standard(spec, generator.size, like, generator.generator)[generator.rows]
        if noise.shape[0] != n:
            raise ValueError(f"noise for {len(noise)} examples where there are {n}")
        return noise
    if isinstance(generator, Handed):
        return next(generator.noises)
    if isinstance(generator, Kept):
        generator.drawn.append(_standard(spec, n, like, generator.generator))
        return generator.drawn[-1]
    if isinstance(generator, OfEach):
        if len(generator.generators) != n:
            raise ValueError(f"{len(generator.generators)} generators for {n} examples")
        return torch.cat([_standard(spec, 1, like, each) for each in generator.generators])
    shape = (n, *spec.shape)
    if generator is MIDPOINT:
        return torch.zeros(shape, dtype=like.dtype, device=like.device)
    source = like.device if generator is None else generator.device
    if spec.distribution == "normal":
        return torch.randn(shape, dtype=like.dtype, device=source, generator=generator)
    uniform = torch.rand(shape, dtype=like.dtype, device=source, generator=generator)
    return torch.logit(uniform, eps=torch.finfo(like.dtype).tiny)
