"""Coding images without a model: predictions that learn as they go, mixed value by value.

What a file begins with, since bits back needs bits on the stack, and what a model cannot code. Each
value is predicted by ten experts, of which some know edges and some have counted values; their
product, each to the power of a weight, is its distribution, and the weights follow the gradient.

Source: the mixing of PAQ (Mahoney 2005), of whole distributions in place of bits (geometric
mixtures: Mattern 2013); the median edge detector is that of JPEG-LS (Weinberger et al. 2000). All
is of whole numbers and single IEEE operations, so that it decodes everywhere, without a package.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glowkit.tasks.coding.functions import Integers, Reals, exp, log, sigmoid, total
from glowkit.tasks.coding.stack import PRECISION, Stack, Table

UNIT = 1 << 10
"""Costs are -log2 of probabilities, in steps of 1 / UNIT."""

DEAREST = 18 * UNIT
LEAK = 10
"""A value has at most a probability of 1 - 2^-LEAK, and thus costs 0.0014 bits at least."""

LARGEST = 1 << 8
"""Levels that are predicted: of more, the low bits stand as they are."""

EIGHTHS = 8
"""A prediction is a whole number of eighths of a level."""

CLASSES = 10
"""Of activity, how much the values around differ: 0, and its powers of two."""

RATE = 2
"""Of the weights: a cost of one bit too much takes RATE · UNIT / 4 off 2^16."""

FORGETTING, PRIOR = 0.9998, 0.01
"""Of recursive least squares: a factor from value to value, and the variance of a coefficient."""

COUNTED, NEAR, MOST = 20, 2, 1000
"""What a value adds to its own count, and to those of its neighbours; counts are halved at most."""

FEATURES = 12
_LN2 = 0.6931471805599453

_LEAST_SCALE, _SCALES = -16, 40
_WIDTHS = exp(np.arange(_LEAST_SCALE, _LEAST_SCALE + _SCALES, dtype=np.float64) * (_LN2 / 4))
_REACH = [int(256 * 1.386 * width) for width in _WIDTHS.tolist()]
"""Scales of logistics, a quarter of an octave apart, and their mean distances in 256ths."""

Choose = Callable[[Integers], int]


def _cost(p: Reals) -> Integers:
    return np.floor(log(np.maximum(p, 2.0**-18)) * (-UNIT / _LN2) + 0.5).astype(np.int64)


@dataclass(frozen=True)
class Coded:
    """An image as symbols: where they start, their shares of 2^24, and low bits as they are."""

    starts: NDArray[np.int32]
    shares: NDArray[np.int32]
    low: Integers
    size_of_low: int

    @property
    def bits(self) -> float:
        """What it takes on a stack."""
        whole = PRECISION * len(self.shares) - float(total(log(self.shares.astype(float)))) / _LN2
        return whole + self.low.size * (self.size_of_low - 1).bit_length()

    def push(self, stack: Stack) -> None:
        """Push it, the first value last."""
        stack.push(self.low, np.full(self.low.shape, self.size_of_low))
        for start, share in zip(
            self.starts[::-1].tolist(), self.shares[::-1].tolist(), strict=True
        ):
            bounds = [0, start, start + share, 1 << PRECISION]
            table = Table.of_starts(sorted(set(bounds)))
            stack.push_from(table, np.array([int(start > 0)]))


class ContextMixing:
    """Learns from image to image, of one shape (C, H, W); encoder and decoder learn alike.

    >>> image, stack = np.array([[[3, 3, 3], [3, 3, 2]]]), Stack()
    >>> ContextMixing((1, 2, 3), 4).coded(image).push(stack)
    >>> ContextMixing((1, 2, 3), 4).pop(stack).tolist()
    [[[3, 3, 3], [3, 3, 2]]]
    """

    def __init__(self, shape: tuple[int, ...], levels: int) -> None:
        self.shape = channels, height, width = shape
        self.low_bits = max(0, (levels - 1).bit_length() - LARGEST.bit_length() + 1)
        self.levels = size = ((levels - 1) >> self.low_bits) + 1
        self.experts = _Experts(channels, size)
        self.of_place = np.zeros((channels, height, width, size), np.int64)
        self.weights = np.full((channels, CLASSES, _Experts.COUNT), (6 << 16) // 50, np.int64)
        costs = np.arange(DEAREST + 1, dtype=np.float64) * (-_LN2 / UNIT)
        self.chances = np.floor(exp(costs) * 2.0**28 + 0.5).astype(np.int64)
        self.floor = max(1, (1 << (28 - LEAK)) // size)

    def coded(self, image: Integers) -> Coded:
        """The symbols of the next image, (C, H, W)."""
        high = image >> self.low_bits
        values, starts, shares = iter(np.moveaxis(high, 0, -1).reshape(-1).tolist()), [], []

        def choose(bounds: Integers) -> int:
            value = next(values)
            starts.append(int(bounds[value]))
            shares.append(int(bounds[value + 1]) - starts[-1])
            return value

        self._through(choose)
        low = image & ((1 << self.low_bits) - 1)
        return Coded(
            np.array(starts, np.int32), np.array(shares, np.int32), low, 1 << self.low_bits
        )

    def pop(self, stack: Stack) -> Integers:
        """The next image."""

        def choose(bounds: Integers) -> int:
            return int(stack.pop_from(Table.of_starts(bounds.tolist()), 1)[0])

        high = self._through(choose)
        return (high << self.low_bits) + stack.pop(np.full(high.shape, 1 << self.low_bits))

    def _through(self, choose: Choose) -> Integers:
        channels, height, width = self.shape
        planes = [[[0] * width for _ in range(height)] for _ in range(channels)]
        for y in range(height):
            for x in range(width):
                for c in range(channels):
                    planes[c][y][x] = self._value(planes, c, y, x, choose)
        return np.array(planes, dtype=np.int64)

    def _value(self, planes: list[list[list[int]]], c: int, y: int, x: int, choose: Choose) -> int:
        """Predict a value, have it chosen, and learn it."""
        seen = _Seen(planes, c, y, x)
        activity = min(CLASSES - 1, (seen.activity * 256 // self.levels).bit_length())
        experts = self.experts
        costs = experts.costs(seen, c, activity, self.of_place[c, y, x])
        weights = self.weights[c, activity]
        mixed = (weights @ costs) >> 16
        mixed -= mixed.min()
        chances = self.chances[np.minimum(mixed, DEAREST)] + self.floor
        whole = int(chances.sum())
        value = choose(self._bounds(chances, whole))
        gradient = costs[:, value] - (costs @ chances) // whole
        weights -= (np.clip(gradient, -8 * UNIT, 8 * UNIT) * RATE) >> 2
        experts.learn(value, c, activity, seen)
        return value

    def _bounds(self, chances: Integers, whole: int) -> Integers:
        """Shares of 2^24, each ≥ 1 and the last ≥ 2, as the bounds between them."""
        shares = chances * ((1 << PRECISION) - self.levels - 1) // whole + 1
        shares[-1] += 1
        shares[int(shares.argmax())] += (1 << PRECISION) - int(shares.sum())
        bounds = np.zeros(self.levels + 1, np.int64)
        np.cumsum(shares, out=bounds[1:])
        return bounds


class _Seen:
    """What is known of a value: those before it, in its own plane and in those before.

    Outside of the picture, values are those next to it; the first value of all sees zeros.
    """

    def __init__(self, planes: list[list[list[int]]], c: int, y: int, x: int) -> None:
        plane = planes[c]
        row, above = plane[y], plane[y - 1]
        if not y:
            w = n = nw = ne = nn = nne = row[x - 1] if x else 0
            ww = row[x - 2] if x > 1 else w
        else:
            n = above[x]
            ne = above[x + 1] if x + 1 < len(above) else n
            w, nw = (row[x - 1], above[x - 1]) if x else (n, n)
            ww = row[x - 2] if x > 1 else w
            two = plane[y - 2] if y > 1 else above
            nn, nne = two[x], two[x + 1] if x + 1 < len(two) else two[x]
        low, high = min(w, n), max(w, n)
        self.base = low if nw >= high else high if nw <= low else w + n - nw
        self.activity = abs(w - nw) + abs(n - nw) + abs(n - ne)
        self.alike = [w == n, n == ne, w == nw, w == 0, n == 0, ww == w, nn == n]
        self.w, self.n, self.pair = w, n, (w, n)
        self.sum = w + n
        others: list[int] = []
        for before in planes[max(0, c - 2) : c][::-1]:
            here = before[y][x]
            left = before[y][x - 1] if x else before[y - 1][x] if y else here
            up = before[y - 1][x] if y else left
            if not others:
                self.activity = self.activity // 2 + abs(here - left) + abs(here - up)
                self.alike += [here == left, here == up]
                self.pair = (here, w)
                self.sum += 2 * here - left - up
                others = [here, left, up, before[y - 1][x - 1] if x and y else left]
            else:
                others += [here, left]
        around = [w, n, nw, ne, ww, nn, nne, *others][:FEATURES]
        self.features = np.zeros(FEATURES)
        self.features[: len(around)] = around
        self.features[: len(around)] -= self.base


class _Experts:
    """Three logistics and seven counts. A logistic is as wide as its prediction was wrong, by
    activity; one prediction is of recursive least squares.
    """

    LOGISTICS, COUNTS = 3, 7
    COUNT = LOGISTICS + COUNTS

    def __init__(self, channels: int, levels: int) -> None:
        self.levels = levels
        distances = np.arange(-EIGHTHS * levels, EIGHTHS * levels) / EIGHTHS
        self.logistics = []
        for width in _WIDTHS:
            p = sigmoid((distances + 0.5) / width) - sigmoid((distances - 0.5) / width)
            self.logistics.append(_cost(p).reshape(-1, EIGHTHS).T.copy())
        self.logs = -_cost(np.arange(1, 2 * (MOST + COUNTED), dtype=np.float64) * 2.0**-18)
        self.errors = [[[1024] * CLASSES for _ in range(channels)] for _ in range(self.LOGISTICS)]
        self.told = [[0] * CLASSES for _ in range(channels)]
        self.of_errors = np.zeros((channels, CLASSES, 2 * levels), np.int64)
        self.of_context: dict[tuple[object, ...], Integers] = {}
        self.coefficients = np.zeros((channels, FEATURES))
        self.inverses = [np.eye(FEATURES) * PRIOR for _ in range(channels)]

    def costs(self, seen: _Seen, c: int, activity: int, of_place: Integers) -> Integers:
        """What each level would cost by each expert, but for constants: (experts, levels)."""
        levels = self.levels
        self.fitted = float(total(self.coefficients[c] * seen.features))
        least_squares = int(np.floor(EIGHTHS * (seen.base + self.fitted) + 0.5))
        predictions = (EIGHTHS * seen.base, EIGHTHS * seen.sum // 2, least_squares)
        self.predictions = [min(max(0, p), EIGHTHS * (levels - 1)) for p in predictions]
        costs = np.empty((self.COUNT, levels), np.int64)
        for i, prediction in enumerate(self.predictions):
            width = bisect_right(_REACH, self.errors[i][c][activity], hi=_SCALES - 1)
            whole, eighths = divmod(EIGHTHS * levels - prediction, EIGHTHS)
            costs[i] = self.logistics[width][eighths][whole : whole + levels]
        self.middle = levels - ((self.predictions[-1] + EIGHTHS // 2) // EIGHTHS)
        keys = (c, *seen.alike), (c, "pair", *seen.pair), (c, "w", seen.w), (c, "n", seen.n), (c,)
        self.counts = [self._of(key) for key in keys]
        self.counts += [of_place, self.of_errors[c, activity, self.middle : self.middle + levels]]
        for i, counts in enumerate(self.counts, self.LOGISTICS):
            costs[i] = -self.logs[counts + 2]
        return costs

    def _of(self, key: tuple[object, ...]) -> Integers:
        if key not in self.of_context:
            self.of_context[key] = np.zeros(self.levels, np.int64)
        return self.of_context[key]

    def learn(self, value: int, c: int, activity: int, seen: _Seen) -> None:
        """Learn what the value was that these costs were for."""
        told = self.told[c][activity]
        for i, prediction in enumerate(self.predictions):
            errors = self.errors[i][c]
            wrong = abs(EIGHTHS * value - prediction) * (256 // EIGHTHS)
            errors[activity] += (wrong - errors[activity]) // (min(told, 60) + 2)
        self.told[c][activity] = told + 1
        for counts in self.counts:
            counts[max(0, value - 1) : value + 2] += NEAR
            counts[value] += COUNTED - NEAR
            if counts[value] > MOST:
                counts >>= 1
        self._fit(value - seen.base - self.fitted, c, seen)

    def _fit(self, error: float, c: int, seen: _Seen) -> None:
        """Recursive least squares; values amid activity weigh less."""
        inverse, x = self.inverses[c], seen.features
        gain = total(inverse * x)
        variance = 1 + (1 + seen.activity) ** 2 / 16
        gain_of_one = gain / (FORGETTING * variance + float(total(x * gain)))
        self.coefficients[c] += gain_of_one * error
        inverse -= gain_of_one[:, None] * gain
        inverse /= FORGETTING
        if not float(total(np.diagonal(inverse).copy())) < 1e4:
            self.inverses[c] = np.eye(FEATURES) * PRIOR
