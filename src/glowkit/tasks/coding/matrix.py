"""Matrices of the channels on whole numbers: triangular factors, each undone exactly."""

import numpy as np
from torch import Tensor

from glowkit.bijections import Actnorm, Conv1x1, InvertibleMatrix, LUMatrix
from glowkit.core import GlowkitError
from glowkit.nets.glow import LOG_SCALE_FACTOR
from glowkit.tasks.coding.functions import Integers, Reals, exp, rounded
from glowkit.tasks.coding.grid import (
    FINE,
    Book,
    Grid,
    IntegerMap,
    numbers,
    ratio,
    scaled,
    unscaled,
)
from glowkit.tasks.coding.stack import Stack, Unfit

_POINT = 2.0**-20
_EXACT = 2.0**53


def factors(matrix: Reals) -> tuple[Integers, Reals, Reals]:
    """order, L and U with W = (L U)[order]: partial pivoting in one order on every machine."""
    a, rows = matrix.copy(), np.arange(len(matrix))
    for k in range(len(a)):
        pivot = k + int(np.abs(a[k:, k]).argmax())
        a[[k, pivot]], rows[[k, pivot]] = a[[pivot, k]], rows[[pivot, k]]
        a[k + 1 :, k] /= a[k, k]
        a[k + 1 :, k + 1 :] -= a[k + 1 :, k, None] * a[None, k, k + 1 :]
    return np.argsort(rows), np.tril(a, -1), np.triu(a)


def factors_of(matrix: InvertibleMatrix) -> tuple[Integers, Reals, Reals]:
    """The same of a layer's matrix, whose own factors are taken where it has them."""
    if type(matrix) is LUMatrix:
        packed = numbers(matrix.packed)
        upper = np.triu(packed, 1)
        upper[np.diag_indices_from(upper)] = exp(packed.diagonal()) * numbers(matrix.signs)
        return matrix.permutation.cpu().numpy(), np.tril(packed, -1), upper
    return factors(numbers(matrix.weight))  # type: ignore[arg-type]


class Matrix(IntegerMap):
    """y = W diag(s) (x + b) for every pixel, as (P L) (U diag(s)).

    U's diagonal is a scaling, and what is beside it is added, rounded to the grid: first of x,
    which is known where the scaling is undone from the last channel on; then L of what that gave,
    likewise from the first channel on. Coefficients are rounded to 2^-20; their sums are exact.
    """

    def __init__(self, grid: Grid, book: Book, conv: Conv1x1, actnorm: Actnorm | None) -> None:
        self.order, lower, upper = factors_of(conv.matrix)
        channels = len(lower)
        bias = np.zeros(channels)
        if actnorm is not None:
            actnorm.require_ready()
            bias = numbers(actnorm.bias)
            upper = upper * exp(LOG_SCALE_FACTOR * numbers(actnorm.logs))
        diagonal = upper.diagonal()
        if not diagonal.all():
            raise GlowkitError(
                "a 1x1 convolution's matrix is singular, so that nothing can be decoded; train"
                " with permutation 'conv1x1', whose matrix stays invertible"
            )
        self.sign = np.where(diagonal < 0, -1, 1)
        self.r, self.s = ratio(np.abs(diagonal), FINE)
        self.shift = grid.integers(bias)[:, None]
        self.upper = rounded(np.triu(upper, 1) / _POINT)
        self.lower = rounded(lower / _POINT)
        self.reach = max(float(np.abs(part).sum(1).max()) for part in (self.upper, self.lower))
        parts = self.order, self.sign, self.r, self.s, self.shift, self.upper, self.lower
        book.note("matrix", *parts)

    def forward(self, stack: Stack, x: Integers, given: Tensor | None) -> Integers:
        values = _by_channel(x) + self.shift
        y = self._sums(self.upper, values)
        for i, channel in enumerate(values):
            y[i] += self.sign[i] * scaled(stack, channel, self.r[i], self.s[i])
        y += self._sums(self.lower, y)
        return _by_example(y[self.order], x)

    def inverse(self, stack: Stack, y: Integers, given: Tensor | None) -> Integers:
        values = np.empty_like(moved := _by_channel(y))
        values[self.order] = moved
        for i in range(1, len(values)):
            values[i] -= self._sums(self.lower[i : i + 1, :i], values[:i])[0]
        for i in range(len(values) - 1, -1, -1):
            rest = self._sums(self.upper[i : i + 1, i + 1 :], values[i + 1 :])[0]
            turned = self.sign[i] * (values[i] - rest)
            values[i] = unscaled(stack, turned, self.r[i], self.s[i])
        return _by_example(values - self.shift, y)

    def _sums(self, coefficients: Reals, values: Integers) -> Integers:
        """Rounded to the grid; every partial sum is a whole number of float64."""
        largest = float(np.abs(values).max(initial=0))
        if not self.reach * largest < _EXACT:
            raise Unfit
        return rounded((coefficients @ values.astype(np.float64)) * _POINT).astype(np.int64)


def _by_channel(x: Integers) -> Integers:
    return np.ascontiguousarray(np.moveaxis(x, 1, 0)).reshape(x.shape[1], -1)


def _by_example(values: Integers, like: Integers) -> Integers:
    n, channels, *space = like.shape
    return np.ascontiguousarray(np.moveaxis(values.reshape(channels, n, *space), 0, 1))
