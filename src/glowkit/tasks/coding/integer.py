"""Bijections on whole numbers: a table from each class to its exact form."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glowkit import bijections as of
from glowkit.bijections.elementwise import SMALLEST_GAIN
from glowkit.core import Bijection, Chain
from glowkit.nets.batchnorm import squared_scale
from glowkit.nets.glow import LOG_SCALE_FACTOR
from glowkit.tasks.coding.coupling import CouplingOf, MaskedCouplingOf
from glowkit.tasks.coding.functions import Integers, Reals, exp
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
from glowkit.tasks.coding.matrix import Matrix
from glowkit.tasks.coding.pieces import ElementwiseCurve, LogitCurve, SigmoidCurve
from glowkit.tasks.coding.stack import Stack


class Together(IntegerMap):
    """One after the other."""

    def __init__(self, maps: list[IntegerMap]) -> None:
        self.maps = maps

    def forward(self, stack: Stack, x: Integers, given: Tensor | None) -> Integers:
        for one in self.maps:
            x = one.forward(stack, x, given)
        return x

    def inverse(self, stack: Stack, y: Integers, given: Tensor | None) -> Integers:
        for one in reversed(self.maps):
            y = one.inverse(stack, y, given)
        return y


class Turned(IntegerMap):
    """The other way around."""

    def __init__(self, inner: IntegerMap) -> None:
        self.inner = inner

    def forward(self, stack: Stack, x: Integers, given: Tensor | None) -> Integers:
        return self.inner.inverse(stack, x, given)

    def inverse(self, stack: Stack, y: Integers, given: Tensor | None) -> Integers:
        return self.inner.forward(stack, y, given)


class Moved(IntegerMap):
    """A bijection that only moves numbers, as it is."""

    def __init__(self, bijection: Bijection) -> None:
        self.bijection = bijection

    def forward(self, stack: Stack, x: Integers, given: Tensor | None) -> Integers:
        return self.bijection(torch.from_numpy(np.ascontiguousarray(x)))[0].numpy()

    def inverse(self, stack: Stack, y: Integers, given: Tensor | None) -> Integers:
        return self.bijection.inverse(torch.from_numpy(np.ascontiguousarray(y)))[0].numpy()


class Added(IntegerMap):
    """y = x + b."""

    def __init__(self, grid: Grid, book: Book, shift: Reals) -> None:
        self.shift = grid.integers(shift)
        book.note("added", self.shift)

    def forward(self, stack: Stack, x: Integers, given: Tensor | None) -> Integers:
        return x + self.shift

    def inverse(self, stack: Stack, y: Integers, given: Tensor | None) -> Integers:
        return y - self.shift


class ShiftScale(IntegerMap):
    """y = (x + b) s, of coefficients that broadcast against x."""

    def __init__(self, grid: Grid, book: Book, shift: Reals, scale: Reals) -> None:
        self.shift, (self.r, self.s) = grid.integers(shift), ratio(scale)
        book.note("shift, scale", self.shift, self.r, self.s)

    def forward(self, stack: Stack, x: Integers, given: Tensor | None) -> Integers:
        return scaled(stack, x + self.shift, self.r, self.s)

    def inverse(self, stack: Stack, y: Integers, given: Tensor | None) -> Integers:
        return unscaled(stack, y, self.r, self.s) - self.shift


class ScaleShift(IntegerMap):
    """y = x s + b, likewise."""

    def __init__(self, grid: Grid, book: Book, shift: Reals, scale: Reals) -> None:
        self.shift, (self.r, self.s) = grid.integers(shift), ratio(scale)
        book.note("scale, shift", self.shift, self.r, self.s)

    def forward(self, stack: Stack, x: Integers, given: Tensor | None) -> Integers:
        return scaled(stack, x, self.r, self.s) + self.shift

    def inverse(self, stack: Stack, y: Integers, given: Tensor | None) -> Integers:
        return unscaled(stack, y - self.shift, self.r, self.s)


class InHalves(IntegerMap):
    """One map of the first half of the channels, another of the second."""

    def __init__(self, first: IntegerMap, second: IntegerMap) -> None:
        self.first, self.second = first, second

    def forward(self, stack: Stack, x: Integers, given: Tensor | None) -> Integers:
        x1, x2 = np.split(x, 2, 1)
        y1 = self.first.forward(stack, x1, given)
        return np.concatenate([y1, self.second.forward(stack, x2, given)], 1)

    def inverse(self, stack: Stack, y: Integers, given: Tensor | None) -> Integers:
        y1, y2 = np.split(y, 2, 1)
        x2 = self.second.inverse(stack, y2, given)
        return np.concatenate([self.first.inverse(stack, y1, given), x2], 1)


MAPS: dict[type, Callable[[Any, Grid, Book], IntegerMap]] = {}


def map_of(bijection: Bijection, grid: Grid, book: Book) -> IntegerMap:
    """The exact form of a bijection. GlowkitError for a class that has none."""
    if type(bijection) not in MAPS:
        raise no_form(bijection)
    book.note(type(bijection).__name__)
    return MAPS[type(bijection)](bijection, grid, book)


def _chain(chain: Chain, grid: Grid, book: Book) -> IntegerMap:
    return Together([map_of(one, grid, book) for one in chain])


def _moved(bijection: Bijection, grid: Grid, book: Book) -> IntegerMap:
    if isinstance(bijection, of.Permute):
        book.note("indices", bijection.indices.cpu().numpy())
    return Moved(deepcopy(bijection).cpu())


def _actnorm(layer: of.Actnorm, grid: Grid, book: Book) -> IntegerMap:
    layer.require_ready()
    bias, scale = numbers(layer.bias), exp(LOG_SCALE_FACTOR * numbers(layer.logs))
    return ShiftScale(grid, book, bias[:, None, None], scale[:, None, None])


def _normalised(layer: of.MaskedBatchNorm, grid: Grid, book: Book) -> IntegerMap:
    moments, mask = layer.moments, numbers(layer.mask) > 0
    square = squared_scale(moments.mean, moments.variance)
    mean = np.where(mask, numbers(moments.mean)[:, None, None], 0)
    root = np.where(mask, np.sqrt(numbers(square))[:, None, None], 1)
    return ShiftScale(grid, book, -mean, 1 / root)


def _scale(layer: of.ElementwiseScale, grid: Grid, book: Book) -> IntegerMap:
    scale = exp(numbers(layer.log_scale))
    return ShiftScale(grid, book, np.zeros_like(scale), scale)


def _norm(layer: of.ElementwiseNorm, grid: Grid, book: Book) -> IntegerMap:
    gain = np.maximum(numbers(layer.gain), SMALLEST_GAIN)
    return ScaleShift(grid, book, numbers(layer.bias), gain)


def _logit(layer: of.Logit, grid: Grid, book: Book) -> IntegerMap:
    book.note("alpha", np.array(layer.alpha))
    return ElementwiseCurve(LogitCurve(grid, layer.alpha))


def _factor(layer: of.Scale, grid: Grid, book: Book) -> IntegerMap:
    return ShiftScale(grid, book, np.array(0.0), np.array(float(layer.factor)))


def _shift(layer: of.Shift, grid: Grid, book: Book) -> IntegerMap:
    return Added(grid, book, np.array(float(layer.amount)))


MAPS |= {
    Chain: _chain,
    of.GlowStep: _chain,
    of.Inverse: lambda layer, grid, book: Turned(map_of(layer.bijection, grid, book)),
    of.Scale: _factor,
    of.Squeeze: _moved,
    of.Permute: _moved,
    of.Reshape: _moved,
    of.RowStripes: _moved,
    of.Stripes: _moved,
    of.Checkerboard: _moved,
    of.Halves: lambda layer, grid, book: InHalves(
        map_of(layer.first, grid, book), map_of(layer.second, grid, book)
    ),
    of.Shift: _shift,
    of.Actnorm: _actnorm,
    of.Conv1x1: lambda layer, grid, book: Matrix(grid, book, layer, None),
    of.ActnormConv1x1: lambda layer, grid, book: Matrix(grid, book, layer.conv, layer.actnorm),
    of.MaskedBatchNorm: _normalised,
    of.ElementwiseScale: _scale,
    of.ElementwiseAffine: lambda layer, grid, book: ScaleShift(
        grid, book, numbers(layer.shift), exp(numbers(layer.log_scale))
    ),
    of.ElementwiseNorm: _norm,
    of.Logit: _logit,
    of.Sigmoid: lambda layer, grid, book: ElementwiseCurve(SigmoidCurve(grid)),
    of.Coupling: lambda layer, grid, book: CouplingOf(grid, layer, book),
    of.MaskedCoupling: lambda layer, grid, book: MaskedCouplingOf(grid, layer, book),
}
