"""Densities on whole numbers: what a flow ends in, and how densities are joined."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import log2
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glowkit import densities as of
from glowkit.core import Density
from glowkit.densities.compose import kept_alone, kept_and_context
from glowkit.tasks.coding.exact import Net, activations, net_of
from glowkit.tasks.coding.functions import Integers, Reals, exp, total
from glowkit.tasks.coding.grid import (
    FRACTION,
    Book,
    Grid,
    IntegerMap,
    no_form,
    ratio,
    scaled,
    unscaled,
)
from glowkit.tasks.coding.integer import map_of
from glowkit.tasks.coding.stack import Stack, Table, Unfit

BINS = 64
"""Bins of a table on an interval of length 1; a density is flat in each to 1e-4 bits."""

_DIGIT = 1 << 16


class IntegerDensity(ABC):
    """Whole numbers (N, ...) are pushed onto a stack, in their length under the density."""

    @abstractmethod
    def encode(self, stack: Stack, x: Integers, given: Tensor | None) -> None:
        """Push x."""

    @abstractmethod
    def decode(self, stack: Stack, n: int, given: Tensor | None) -> Integers:
        """Pop the x of n examples."""


def normal(x: Reals) -> Reals:
    """The density of N(0, 1), up to a factor."""
    return exp(-0.5 * x * x)


def logistic(x: Reals) -> Reals:
    """That of the standard logistic."""
    small = exp(-np.abs(x))
    return small / ((1 + small) * (1 + small))


class Noise:
    """A standard draw as a bin under a table, and its place in the bin.

    Bins reach to ±`far`. The table's last symbol says that a number is beyond, and stands whole.
    """

    def __init__(self, grid: Grid, density: Callable[[Reals], Reals], far: float) -> None:
        self.low = max(0, int(log2(grid.unit / BINS)))
        width = (1 << self.low) / grid.unit
        self.half = int(far / width)
        edges: Reals = np.arange(-self.half, self.half + 1, dtype=np.float64) * width
        middles = edges[:-1] + width / 2
        shares = density(edges[:-1]) + 4 * density(middles) + density(edges[1:])  # Simpson's rule
        self.table = Table(np.append(shares / total(shares), 0.0))

    def push(self, stack: Stack, e: Integers) -> None:
        flat = e.reshape(-1)
        bins = (flat >> self.low) + self.half
        beyond = (bins < 0) | (bins >= 2 * self.half)
        near, far = flat[~beyond], flat[beyond] + (1 << 31)
        if far.size and not 0 <= int(far.min()) <= int(far.max()) < 1 << 32:
            raise Unfit
        stack.push(near & ((1 << self.low) - 1), np.full(near.shape, 1 << self.low))
        for digit in (far % _DIGIT, far // _DIGIT):
            stack.push(digit, np.full(far.shape, _DIGIT))
        stack.push_from(self.table, np.where(beyond, 2 * self.half, bins))

    def pop(self, stack: Stack, shape: tuple[int, ...]) -> Integers:
        bins = stack.pop_from(self.table, int(np.prod(shape)))
        beyond = bins == 2 * self.half
        e = (bins - self.half) << self.low
        far = np.full(int(beyond.sum()), _DIGIT)
        high = stack.pop(far)
        e[beyond] = high * _DIGIT + stack.pop(far) - (1 << 31)
        e[~beyond] += stack.pop(np.full(int((~beyond).sum()), 1 << self.low))
        return e.reshape(shape)


class Standard(IntegerDensity):
    """Noise of a shape."""

    def __init__(self, noise: Noise, shape: tuple[int, ...]) -> None:
        self.noise, self.shape = noise, tuple(shape)

    def encode(self, stack: Stack, x: Integers, given: Tensor | None) -> None:
        self.noise.push(stack, x)

    def decode(self, stack: Stack, n: int, given: Tensor | None) -> Integers:
        return self.noise.pop(stack, (n, *self.shape))


class Cube(IntegerDensity):
    """The uniform density of the unit cube, in digits."""

    def __init__(self, grid: Grid, shape: tuple[int, ...]) -> None:
        self.shape, self.high = tuple(shape), max(1, grid.unit >> 16)
        self.low = grid.unit // self.high
        self.unit = self.high * self.low

    def encode(self, stack: Stack, x: Integers, given: Tensor | None) -> None:
        if not 0 <= int(x.min()) <= int(x.max()) < self.unit:
            raise Unfit
        stack.push(x % self.low, np.full(x.shape, self.low))
        stack.push(x // self.low, np.full(x.shape, self.high))

    def decode(self, stack: Stack, n: int, given: Tensor | None) -> Integers:
        high = stack.pop(np.full((n, *self.shape), self.high))
        return high * self.low + stack.pop(np.full(high.shape, self.low))


class Whitened(IntegerDensity):
    """N(m, s²) as noise, (x − m) / s, with m and ln s of what is given."""

    def __init__(
        self,
        grid: Grid,
        shape: tuple[int, ...],
        parameters: Callable[[Tensor | None], tuple[Reals, Reals]],
    ) -> None:
        self.grid, self.parameters = grid, parameters
        self.noise, self.shape = Noise(grid, normal, 8), tuple(shape)

    def encode(self, stack: Stack, x: Integers, given: Tensor | None) -> None:
        mean, log_std = self.parameters(given)
        self.noise.push(stack, scaled(stack, x - self.grid.integers(mean), *ratio(exp(-log_std))))

    def decode(self, stack: Stack, n: int, given: Tensor | None) -> Integers:
        mean, log_std = self.parameters(given)
        e = self.noise.pop(stack, (n, *self.shape))
        return unscaled(stack, e, *ratio(exp(-log_std))) + self.grid.integers(mean)


class After(IntegerDensity):
    """A map, then a density."""

    def __init__(self, first: IntegerMap, density: IntegerDensity) -> None:
        self.first, self.density = first, density

    def encode(self, stack: Stack, x: Integers, given: Tensor | None) -> None:
        self.density.encode(stack, self.first.forward(stack, x, given), given)

    def decode(self, stack: Stack, n: int, given: Tensor | None) -> Integers:
        return self.first.inverse(stack, self.density.decode(stack, n, given), given)


class Parted(IntegerDensity):
    """The last channels under a prior that sees the first, which go on."""

    def __init__(
        self, grid: Grid, split: of.Split, prior: IntegerDensity, deeper: IntegerDensity
    ) -> None:
        self.grid, self.kept, self.prior, self.deeper = grid, split.kept, prior, deeper
        self.seen: Callable[[Tensor, Tensor | None], Tensor] = split.seen

    def encode(self, stack: Stack, x: Integers, given: Tensor | None) -> None:
        x1 = x[:, : self.kept]
        self.prior.encode(stack, x[:, self.kept :], self.sees(x1, given))
        self.deeper.encode(stack, x1, given)

    def decode(self, stack: Stack, n: int, given: Tensor | None) -> Integers:
        x1 = self.deeper.decode(stack, n, given)
        return np.concatenate([x1, self.prior.decode(stack, n, self.sees(x1, given))], 1)

    def sees(self, x1: Integers, given: Tensor | None) -> Tensor:
        """What the prior is given where these are the kept channels."""
        return self.seen(self.grid.activations(x1), given)


class Given(IntegerDensity):
    """A density that sees what something makes of what is given."""

    def __init__(self, make: Callable[[Tensor], Tensor], density: IntegerDensity) -> None:
        self.make, self.density = make, density

    def encode(self, stack: Stack, x: Integers, given: Tensor | None) -> None:
        assert given is not None
        self.density.encode(stack, x, self.make(given))

    def decode(self, stack: Stack, n: int, given: Tensor | None) -> Integers:
        assert given is not None
        return self.density.decode(stack, n, self.make(given))


DENSITIES: dict[type, Callable[[Any, Grid, Book], IntegerDensity]] = {}


def density_of(density: Density, grid: Grid, book: Book) -> IntegerDensity:
    """The exact form of a density. GlowkitError for a class that has none."""
    if type(density) not in DENSITIES:
        raise no_form(density)
    book.note(type(density).__name__)
    return DENSITIES[type(density)](density, grid, book)


def _split(split: of.Split, grid: Grid, book: Book) -> IntegerDensity:
    if split.seen not in (kept_alone, kept_and_context):
        raise no_form(split)
    book.note("kept", [split.kept])
    prior = density_of(split.prior, grid, book)
    return Parted(grid, split, prior, density_of(split.deeper, grid, book))


def _conditional(prior: of.ConditionalNormal, grid: Grid, book: Book) -> IntegerDensity:
    net, (channels, *space) = net_of(prior.net, book), prior.shape

    def parameters(given: Tensor | None) -> tuple[Reals, Reals]:
        assert given is not None
        h = net(given, None).numpy().reshape(len(given), channels, 2, *space)
        return h[:, :, 0], h[:, :, 1]

    return Whitened(grid, prior.shape, parameters)


def _top(prior: of.TopPrior, grid: Grid, book: Book) -> IntegerDensity:
    channels, height, width = prior.shape
    border: Net | None = None if prior.border is None else net_of(prior.border, book)
    embedding: Net | None = None if prior.embedding is None else net_of(prior.embedding, book)
    zeros = torch.zeros(1, 2 * channels, height, width, dtype=torch.float64)

    def parameters(given: Tensor | None) -> tuple[Reals, Reals]:
        h = (zeros if border is None else border(zeros, None)).numpy()
        if embedding is not None:
            assert given is not None
            h = h + embedding(given, None).numpy()[:, :, None, None]
        return h[:, :channels], h[:, channels:]

    return Whitened(grid, prior.shape, parameters)


def _in_context(density: of.WithContext, grid: Grid, book: Book) -> IntegerDensity:
    net = net_of(density.net, book)
    inner = density_of(density.density, grid, book)
    return Given(lambda given: activations(net(given, None)), inner)


def _labelled(density: of.WithLabels, grid: Grid, book: Book) -> IntegerDensity:
    def one_hot(labels: Tensor) -> Tensor:
        hot = labels.long()[:, None] == torch.arange(density.classes)
        return hot.double() * 2.0**FRACTION

    book.note("classes", [density.classes])
    return Given(one_hot, density_of(density.density, grid, book))


DENSITIES |= {
    of.Then: lambda density, grid, book: After(
        map_of(density.bijection, grid, book), density_of(density.density, grid, book)
    ),
    of.Split: _split,
    of.ConditionalNormal: _conditional,
    of.TopPrior: _top,
    of.StandardNormal: lambda prior, grid, book: Standard(Noise(grid, normal, 8), prior.shape),
    of.StandardLogistic: lambda prior, grid, book: Standard(Noise(grid, logistic, 20), prior.shape),
    of.Uniform: lambda prior, grid, book: Cube(grid, prior.shape),
    of.Classified: lambda density, grid, book: density_of(density.prior, grid, book),
    of.WithLabels: _labelled,
    of.WithVectors: lambda density, grid, book: density_of(density.density, grid, book),
    of.WithContext: _in_context,
}
