"""Couplings on whole numbers, and a table from each of their transformers to its exact form."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from glowkit import bijections as of
from glowkit.bijections.coupling import CENTRE
from glowkit.tasks.coding import gated, residual, vit
from glowkit.tasks.coding.exact import Net, net_of
from glowkit.tasks.coding.functions import Integers, Reals, exp, sigmoid, tanh
from glowkit.tasks.coding.grid import (
    Book,
    Grid,
    IntegerMap,
    no_form,
    numbers,
    ratio,
    scaled,
    unscaled,
)
from glowkit.tasks.coding.pieces import Curve, MixtureCurve, SplineCurve, along, back_along
from glowkit.tasks.coding.stack import Stack

REGISTERED = (gated, residual, vit)
"""Imported for the networks that they add to the table of `exact`."""


class IntegerTransformer(ABC):
    """An elementwise map of x, (N, C, ...), whose parameters h, (N, C, P, ...), are reals."""

    def __init__(self, grid: Grid, parameters: int) -> None:
        self.grid, self.parameters = grid, parameters

    @abstractmethod
    def forward(self, stack: Stack, x: Integers, h: Reals) -> Integers:
        """Map x to y."""

    @abstractmethod
    def inverse(self, stack: Stack, y: Integers, h: Reals) -> Integers:
        """Map y to x."""


class AdditiveOf(IntegerTransformer):
    """y = x + t."""

    def forward(self, stack: Stack, x: Integers, h: Reals) -> Integers:
        return x + self.grid.integers(h[:, :, 0])

    def inverse(self, stack: Stack, y: Integers, h: Reals) -> Integers:
        return y - self.grid.integers(h[:, :, 0])


class AffineOf(IntegerTransformer):
    """y = (x + t) s(r); h holds t and r."""

    def __init__(self, grid: Grid, parameters: int, scale: Callable[[Reals], Reals]) -> None:
        super().__init__(grid, parameters)
        self.scale = scale

    def forward(self, stack: Stack, x: Integers, h: Reals) -> Integers:
        return scaled(stack, x + self.grid.integers(h[:, :, 0]), *ratio(self.scale(h[:, :, 1])))

    def inverse(self, stack: Stack, y: Integers, h: Reals) -> Integers:
        x = unscaled(stack, y, *ratio(self.scale(h[:, :, 1])))
        return x - self.grid.integers(h[:, :, 0])


class BoundedAffineOf(IntegerTransformer):
    """y = x s(r) + t; h holds t and r."""

    def __init__(self, grid: Grid, parameters: int, scale: Callable[[Reals], Reals]) -> None:
        super().__init__(grid, parameters)
        self.scale = scale

    def forward(self, stack: Stack, x: Integers, h: Reals) -> Integers:
        return scaled(stack, x, *ratio(self.scale(h[:, :, 1]))) + self.grid.integers(h[:, :, 0])

    def inverse(self, stack: Stack, y: Integers, h: Reals) -> Integers:
        return unscaled(stack, y - self.grid.integers(h[:, :, 0]), *ratio(self.scale(h[:, :, 1])))


class CurveOf(IntegerTransformer):
    """A curve of its own for each element."""

    def __init__(self, grid: Grid, parameters: int, curve: Callable[[Reals], Curve]) -> None:
        super().__init__(grid, parameters)
        self.curve = curve

    def forward(self, stack: Stack, x: Integers, h: Reals) -> Integers:
        return along(stack, x.reshape(-1), self.curve(h)).reshape(x.shape)

    def inverse(self, stack: Stack, y: Integers, h: Reals) -> Integers:
        return back_along(stack, y.reshape(-1), self.curve(h)).reshape(y.shape)


class Conditioned(IntegerMap):
    """Part of x stays, and says through a network how the rest is transformed."""

    def __init__(self, grid: Grid, layer: of.Coupling | of.MaskedCoupling, book: Book) -> None:
        self.grid = grid
        self.net: Net = net_of(layer.net, book)
        self.transformer = transformer_of(layer.transformer, grid, book)

    @abstractmethod
    def parts(self, x: Integers) -> tuple[Integers, Integers]:
        """What the network sees, and what is transformed."""

    @abstractmethod
    def parameters(self, h: Reals) -> Reals:
        """The network's output for what is transformed."""

    @abstractmethod
    def joined(self, x: Integers, changed: Integers) -> Integers:
        """x with what was transformed in its place."""

    def forward(self, stack: Stack, x: Integers, given: Tensor | None) -> Integers:
        seen, moved = self.parts(x)
        return self.joined(x, self.transformer.forward(stack, moved, self._h(seen, moved, given)))

    def inverse(self, stack: Stack, y: Integers, given: Tensor | None) -> Integers:
        seen, moved = self.parts(y)
        return self.joined(y, self.transformer.inverse(stack, moved, self._h(seen, moved, given)))

    def _h(self, seen: Integers, moved: Integers, given: Tensor | None) -> Reals:
        h = self.parameters(self.net(self.grid.activations(seen), given).numpy())
        n, channels, *space = moved.shape
        return h.reshape(n, channels, self.transformer.parameters, *space)


class CouplingOf(Conditioned):
    """The first channels stay."""

    def __init__(self, grid: Grid, layer: of.Coupling, book: Book) -> None:
        super().__init__(grid, layer, book)
        self.kept = layer.kept
        book.note("coupling", [self.kept])

    def parts(self, x: Integers) -> tuple[Integers, Integers]:
        return x[:, : self.kept], np.ascontiguousarray(x[:, self.kept :])

    def parameters(self, h: Reals) -> Reals:
        return h

    def joined(self, x: Integers, changed: Integers) -> Integers:
        return np.concatenate([x[:, : self.kept], changed], 1)


class MaskedCouplingOf(Conditioned):
    """The cells under a mask stay."""

    def __init__(self, grid: Grid, layer: of.MaskedCoupling, book: Book) -> None:
        super().__init__(grid, layer, book)
        self.kept = layer.kept.cpu().numpy().astype(np.int64)
        self.free = layer.free.cpu().numpy()
        book.note("masked coupling", self.kept)

    def parts(self, x: Integers) -> tuple[Integers, Integers]:
        return x * self.kept, np.ascontiguousarray(_cells(x)[:, :, self.free])

    def parameters(self, h: Reals) -> Reals:
        return _cells(h)[:, :, self.free]

    def joined(self, x: Integers, changed: Integers) -> Integers:
        cells = _cells(x).copy()
        cells[:, :, self.free] = changed
        return cells.reshape(x.shape)


def _cells(x: Any) -> Any:
    return x.reshape(*x.shape[:2], -1)


def transformer_of(transformer: of.Transformer, grid: Grid, book: Book) -> IntegerTransformer:
    """The exact form of a coupling's transformer. GlowkitError for a class that has none."""
    if type(transformer) not in TRANSFORMERS:
        raise no_form(transformer)
    book.note(type(transformer).__name__, *map(numbers, transformer.parameters()))
    return TRANSFORMERS[type(transformer)](transformer, grid, book)


def _tanh_affine(layer: of.TanhAffine, grid: Grid, book: Book) -> IntegerTransformer:
    gain = numbers(layer.gain)
    # Of one number a channel, (C, 1, 1), and free cells, (N, C, M), the shapes do not fit by rank.
    return AffineOf(grid, 2, lambda raw: exp(gain.reshape(gain.shape[: raw.ndim - 1]) * tanh(raw)))


def _bounded_affine(layer: of.BoundedAffine, grid: Grid, book: Book) -> IntegerTransformer:
    gain, offset = numbers(layer.gain), numbers(layer.offset)
    return BoundedAffineOf(grid, 2, lambda raw: exp(gain * tanh(raw) + offset))


def _mixture(layer: of.LogisticMixture, grid: Grid, book: Book) -> IntegerTransformer:
    parameters = layer.parameters_per_channel
    return CurveOf(grid, parameters, lambda h: MixtureCurve(grid, layer, h))


def _spline(layer: of.RationalQuadraticSpline, grid: Grid, book: Book) -> IntegerTransformer:
    book.note("spline", np.array([layer.bins, layer.bound]))
    return CurveOf(grid, layer.parameters_per_channel, lambda h: SplineCurve(grid, layer, h))


TRANSFORMERS: dict[type, Callable[[Any, Grid, Book], IntegerTransformer]] = {
    of.Additive: lambda layer, grid, book: AdditiveOf(grid, 1),
    of.Affine: lambda layer, grid, book: AffineOf(grid, 2, lambda raw: sigmoid(raw + CENTRE)),
    of.CentredAffine: lambda layer, grid, book: AffineOf(grid, 2, lambda raw: 2 * sigmoid(raw)),
    of.TanhAffine: _tanh_affine,
    of.BoundedAffine: _bounded_affine,
    of.LogisticMixture: _mixture,
    of.RationalQuadraticSpline: _spline,
}
