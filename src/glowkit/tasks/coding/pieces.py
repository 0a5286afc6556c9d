"""Increasing curves as bijections of whole numbers: straight pieces between knots."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from glowkit.bijections import LogisticMixture, RationalQuadraticSpline
from glowkit.bijections.mixture import SMALLEST_LOG_SCALE, MixtureRoot
from glowkit.bijections.spline import SMALLEST_BIN, SMALLEST_SLOPE
from glowkit.tasks.coding.functions import (
    Integers,
    Reals,
    exp,
    log,
    rounded,
    sigmoid,
    softplus,
    tanh,
)
from glowkit.tasks.coding.grid import Grid, IntegerMap, check_range, chunks
from glowkit.tasks.coding.stack import LARGEST, Stack, Unfit

_DOUBLINGS = 40
"""Of the bracket in which a piece is looked for."""


class Curve(ABC):
    """An increasing function of one number, for each of M elements.

    To write one: implement `heights`, exact to the last bit, and `guess`, which may be anything.
    A curve that is not everywhere steeper than the grid is made so by 1/G of a straight line.
    """

    def __init__(self, grid: Grid, coarser: int = 0) -> None:
        self.grid = grid
        self.knot = grid.knot + coarser
        self.step = 1 << self.knot

    @abstractmethod
    def heights(self, knots: Integers, which: slice | Integers) -> Integers:
        """Y, increasing, at whole numbers of knots, of these elements."""

    @abstractmethod
    def guess(self, y: Integers) -> Reals:
        """Where y is about reached, as a real; only time depends on it."""

    def leaning(self, f: Reals, knots: Integers) -> Integers:
        """⌊(1 − 1/G) f / δ + ½⌋ + κ: at least 1 more from knot to knot, wherever f increases."""
        heights = rounded(f * (self.grid.unit * (1 - 1 / self.step)))
        check_range(heights)
        return heights.astype(np.int64) + knots

    def at(self, knots: Integers) -> Reals:
        """Where the knots are, as reals."""
        return knots.astype(np.float64) * (self.step / self.grid.unit)


def along(stack: Stack, x: Integers, curve: Curve) -> Integers:
    """y on the straight piece over which x, (M,), lies.

    With κ = ⌊x / G⌋, o = x − κ G and N = Y(κ + 1) − Y(κ): t = o N + e with e popped of N, y =
    Y(κ) + ⌊t / G⌋, and t mod G pushed of G. The bits pushed less those popped are log2 G − log2 N,
    which is −log2 of the slope.
    """
    check_range(x)
    knots = x >> curve.knot
    low = curve.heights(knots, slice(None))
    size = curve.heights(knots + 1, slice(None)) - low
    _check_pieces(size)
    y = np.empty_like(x)
    for part in chunks(stack, len(x)):
        t = (x[part] - knots[part] * curve.step) * size[part] + stack.pop(size[part])
        stack.push(t & (curve.step - 1), np.full(t.shape, curve.step))
        y[part] = low[part] + (t >> curve.knot)
    return y


def back_along(stack: Stack, y: Integers, curve: Curve) -> Integers:
    """x of `along`."""
    check_range(y)
    knots, low, size = find(curve, y)
    x = np.empty_like(y)
    for part in list(chunks(stack, len(y)))[::-1]:
        steps = np.full(y[part].shape, curve.step)
        t = ((y[part] - low[part]) << curve.knot) + stack.pop(steps)
        offset = np.floor_divide(t, size[part])
        stack.push(t - offset * size[part], size[part])
        x[part] = knots[part] * curve.step + offset
    return x


def _check_pieces(size: Integers) -> None:
    if size.size and not 1 <= int(size.min()) <= int(size.max()) < LARGEST:
        raise Unfit


def find(curve: Curve, y: Integers) -> tuple[Integers, Integers, Integers]:
    """κ with Y(κ) ≤ y < Y(κ + 1), Y(κ) and how much higher Y(κ + 1) is.

    The guess, and where it is wrong a bracket around it, halved.
    """
    guess = np.nan_to_num(curve.guess(y) * (curve.grid.unit / curve.step))
    knots = np.floor(np.clip(guess, -(2.0**24), 2.0**24)).astype(np.int64)
    low, high = (curve.heights(knots + i, slice(None)) for i in (0, 1))
    which = ((low > y) | (high <= y)).nonzero()[0]
    if len(which):
        knots[which] = right = _bracketed(curve, y[which], knots[which], which)
        low[which], high[which] = (curve.heights(right + i, which) for i in (0, 1))
    size = high - low
    _check_pieces(size)
    return knots, low, size


def _bracketed(curve: Curve, y: Integers, start: Integers, which: Integers) -> Integers:
    low, high, width = start, start + 1, 1
    for _ in range(_DOUBLINGS):
        below, above = curve.heights(low, which) <= y, curve.heights(high, which) > y
        if below.all() and above.all():
            break
        low, high = np.where(below, low, low - width), np.where(above, high, high + width)
        width *= 2
    else:
        raise Unfit
    while int((high - low).max()) > 1:
        middle = (low + high) >> 1
        below = curve.heights(middle, which) <= y
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low


def flattened(groups: Reals) -> Reals:
    """Parameters (N, C, P, ...) as (P, M), the elements in the order of those of x."""
    return np.ascontiguousarray(np.moveaxis(groups, 2, 0)).reshape(groups.shape[2], -1)


class MixtureCurve(Curve):
    """logit F · exp(s) + t; see `glowkit.bijections.LogisticMixture`. h is (N, C, 2 + 3K, ...)."""

    def __init__(self, grid: Grid, transformer: LogisticMixture, h: Reals) -> None:
        super().__init__(grid)
        k, flat = transformer.components, flattened(h)
        logits, self.means = flat[2 : 2 + k], flat[2 + k : 2 + 2 * k]
        self.gain, self.shift = exp(tanh(flat[0])), flat[1]
        self.rates = exp(-np.maximum(flat[2 + 2 * k :], SMALLEST_LOG_SCALE))
        self.shares = exp(logits - logits.max(0))
        self.h = h

    def heights(self, knots: Integers, which: slice | Integers) -> Integers:
        x = self.at(knots)
        below, above = np.zeros_like(x), np.zeros_like(x)
        for mean, rate, share in zip(self.means, self.rates, self.shares, strict=True):
            z = np.clip((x - mean[which]) * rate[which], -300, 300)
            small = exp(-np.abs(z))
            near = share[which] / (1 + small)
            far = near * small
            up = z > 0
            below += np.where(up, near, far)
            above += np.where(up, far, near)
        logit = log(below) - log(above)
        return self.leaning(logit * self.gain[which] + self.shift[which], knots)

    def guess(self, y: Integers) -> Reals:
        n, channels, _, *space = self.h.shape
        real = (y / self.grid.unit).reshape(n, channels, *space)
        return _float32(MixtureRoot.of, real, self.h)


class SplineCurve(Curve):
    """See `glowkit.bijections.RationalQuadraticSpline`. h is (N, C, 3K − 1, ...)."""

    def __init__(self, grid: Grid, transformer: RationalQuadraticSpline, h: Reals) -> None:
        super().__init__(grid)
        self.transformer, self.h, k = transformer, h, transformer.bins
        flat = flattened(h)
        self.widths, self.heights_of_bins = self._sides(flat[:k]), self._sides(flat[k : 2 * k])
        one = np.ones_like(flat[:1])
        # ln(e^(1 − m) − 1), as the transformer shifts its softplus so that zeros give slopes of 1.
        shift = log(exp(np.array(1 - SMALLEST_SLOPE)) - 1)
        inner = SMALLEST_SLOPE + softplus(flat[2 * k :] + shift)
        self.slopes = np.concatenate([one, inner, one])
        self.starts = [self._starts(sides) for sides in (self.widths, self.heights_of_bins)]

    def _sides(self, raw: Reals) -> Reals:
        k, bound = self.transformer.bins, self.transformer.bound
        terms = exp(raw - raw.max(0))
        share = terms / np.add.accumulate(terms)[-1]
        return 2 * bound * (SMALLEST_BIN + (1 - SMALLEST_BIN * k) * share)

    def _starts(self, sides: Reals) -> Reals:
        return np.add.accumulate(sides) - sides - self.transformer.bound

    def heights(self, knots: Integers, which: slice | Integers) -> Integers:
        x, bound = self.at(knots), self.transformer.bound
        inside = np.clip(x, -bound, bound)
        starts = self.starts[0][:, which]
        k = (inside >= starts[1:]).sum(0)[None]

        def of(values: Reals) -> Reals:
            return np.take_along_axis(values[:, which], k, 0)[0]

        width, height = of(self.widths), of(self.heights_of_bins)
        d0, d1 = of(self.slopes), of(self.slopes[1:])
        xi, delta = (inside - of(self.starts[0])) / width, height / width
        mixed = xi * (1 - xi)
        rise = height * (delta * xi * xi + d0 * mixed) / (delta + (d1 + d0 - 2 * delta) * mixed)
        y = np.where(np.abs(x) >= bound, x, of(self.starts[1]) + rise)
        return self.leaning(y, knots)

    def guess(self, y: Integers) -> Reals:
        n, channels, parameters, *space = self.h.shape
        real = (y / self.grid.unit).reshape(n, channels, *space)

        def inverse(y: Tensor, h: Tensor) -> Tensor:
            return self.transformer.inverse(y, h.view(n, channels * parameters, *space))[0]

        return _float32(inverse, real, self.h)


def _float32(inverse: object, y: Reals, h: Reals) -> Reals:
    with torch.no_grad():
        x = inverse(torch.from_numpy(y).float(), torch.from_numpy(h).float())  # type: ignore[operator]
    return x.double().numpy().reshape(-1)


class LogitCurve(Curve):
    """logit(α + (1 − 2α) x) for x in [0, 1]; see `glowkit.bijections.Logit`."""

    def __init__(self, grid: Grid, alpha: float) -> None:
        super().__init__(grid)
        self.alpha = alpha

    def heights(self, knots: Integers, which: slice | Integers) -> Integers:
        p = np.clip(self.alpha + (1 - 2 * self.alpha) * self.at(knots), 2.0**-30, 1 - 2.0**-30)
        return self.leaning(log(p) - log(1 - p), knots)

    def guess(self, y: Integers) -> Reals:
        return (sigmoid(y / self.grid.unit) - self.alpha) / (1 - 2 * self.alpha)


class SigmoidCurve(Curve):
    """σ as a bijection of the whole numbers within ±32 onto those from 0 to 1.

    The straight line is a part of the curve here, so that it ends where it should: Y(κ) =
    ⌊(U − 2M) σ + ½⌋ + κ + M for |κ| ≤ M, with M the knots up to 32. There are a quarter as many
    as elsewhere, so that the line takes little. The margin of `glowkit.bijections.Sigmoid`, which
    is there for rounding in float32, is left out.
    """

    FARTHEST = 32

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid, coarser=2)
        self.most = self.FARTHEST * grid.unit // self.step

    def heights(self, knots: Integers, which: slice | Integers) -> Integers:
        knots = np.clip(knots, -self.most, self.most)
        rest = self.grid.unit - 2 * self.most
        return rounded(rest * sigmoid(self.at(knots))).astype(np.int64) + knots + self.most

    def guess(self, y: Integers) -> Reals:
        p = np.clip(y / self.grid.unit, 2.0**-30, 1 - 2.0**-30)
        return log(p) - log(1 - p)


class ElementwiseCurve(IntegerMap):
    """A curve that is the same for all elements."""

    def __init__(self, curve: Curve) -> None:
        self.curve = curve

    def forward(self, stack: Stack, x: Integers, given: Tensor | None) -> Integers:
        return along(stack, x.reshape(-1), self.curve).reshape(x.shape)

    def inverse(self, stack: Stack, y: Integers, given: Tensor | None) -> Integers:
        return back_along(stack, y.reshape(-1), self.curve).reshape(y.shape)
