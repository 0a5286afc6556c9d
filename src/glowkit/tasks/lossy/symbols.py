"""Rounded latents on the stack: whole numbers n under one table for each deviation, in steps.

P(n) is that of N(0, s²) in the bin around n, with s of a grid: ln s in sixteenths, which takes less
than a thousandth of a bit a latent. Tables are made of single IEEE operations, and are the same on
every machine.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from glowkit.tasks.coding import functions
from glowkit.tasks.coding.functions import Integers, Reals, exp, rounded, total
from glowkit.tasks.coding.leaves import normal
from glowkit.tasks.coding.stack import Stack, Table, Unfit
from glowkit.tasks.lossy.quantise import FLOOR

A_STEP = 16
"""Tables for each factor of e in deviation."""

WIDEST = 512.0
"""Deviations, in steps, from which on one table serves."""

TABLES = ceil(A_STEP * log(WIDEST / FLOOR)) + 1
REACH = 8
"""Deviations from the mean, beyond which a number is written out."""

MOST_BITS = 22


@dataclass(frozen=True)
class Coded:
    """A latent of some images: whole steps from the mean, (N, ...), and ln σ, which broadcasts."""

    steps: Integers
    log_std: Reals

    def __getitem__(self, rows: slice) -> "Coded":
        """That of some of the images."""
        shared = len(self.log_std) < len(self.steps)
        return Coded(self.steps[rows], self.log_std if shared else self.log_std[rows])

    def put(self, rows: Integers, other: "Coded", chosen: NDArray[np.bool_]) -> None:
        """Write those chosen of another into these rows."""
        self.steps[rows] = other.steps[chosen]
        if len(self.log_std) == len(self.steps):
            self.log_std[rows] = other.log_std[chosen]


@cache
def table(number: int) -> tuple[Table, int]:
    """Of a deviation of 0.1 exp(number / 16) steps; and how far from 0 its symbols reach.

    Symbol i stands for the number i − reach, and the last one for all that are beyond.
    """
    std = float(FLOOR * exp(np.array(number / A_STEP)))
    reach = ceil(REACH * std) + 1
    parts = 2 * max(1, ceil(4 / std))  # of a bin, for Simpson's rule
    weights = np.ones(parts + 1)
    weights[1:-1:2], weights[2:-1:2] = 4.0, 2.0
    places = np.arange(reach + 1, dtype=np.float64)[:, None] - 0.5
    density = normal((places + np.arange(parts + 1) / parts) / std)
    right = total(density * weights)  # of 0, 1, ..., reach
    shares = np.concatenate([right[:0:-1], right])
    return Table(np.append(shares / total(shares), 0.0)), reach


def table_numbers(log_std: Reals, step: float) -> Integers:
    """Which table, of a deviation to which 0.1 of a step is added in quadrature."""
    ratio = exp(log_std) / step
    nearest = rounded(A_STEP * functions.log(np.sqrt(ratio * ratio + FLOOR * FLOOR) / FLOOR))
    return np.clip(nearest, 0, TABLES - 1).astype(np.int64)


def push(stack: Stack, coded: Coded, step: float) -> None:
    """Push a latent, so that `pop` gives it.

    Raises:
        Unfit: for a number beyond 2^21.
    """
    numbers = np.broadcast_to(table_numbers(coded.log_std, step), coded.steps.shape).reshape(-1)
    steps = coded.steps.reshape(-1)
    groups = [(int(one), numbers == one) for one in np.unique(numbers)]
    far = [steps[rows][np.abs(steps[rows]) > table(one)[1]] for one, rows in groups]
    _push_far(stack, np.concatenate(far))
    for one, rows in reversed(groups):
        known, reach = table(one)
        n = steps[rows]
        stack.push_from(known, np.where(np.abs(n) > reach, 2 * reach + 1, n + reach))


def pop(stack: Stack, shape: tuple[int, ...], log_std: Reals, step: float) -> Integers:
    """Pop a latent of this shape, (N, ...)."""
    numbers = np.broadcast_to(table_numbers(log_std, step), shape).reshape(-1)
    steps = np.zeros(numbers.shape, np.int64)
    beyond = np.zeros(numbers.shape, bool)
    order = []
    for one in np.unique(numbers):
        known, reach = table(int(one))
        rows = np.flatnonzero(numbers == one)
        symbols = stack.pop_from(known, len(rows))
        steps[rows] = symbols - reach
        far = rows[symbols == 2 * reach + 1]
        beyond[far] = True
        order.append(far)
    steps[np.concatenate(order)] = _pop_far(stack, int(beyond.sum()))
    return steps.reshape(shape)


def _push_far(stack: Stack, steps: Integers) -> None:
    """Numbers written out: how many binary digits, those after the first one, and the sign."""
    if not steps.size:
        return
    size = np.abs(steps)
    _, digits = np.frexp(size.astype(np.float64))
    if int(digits.max()) > MOST_BITS:
        raise Unfit
    high = np.left_shift(np.int64(1), digits.astype(np.int64) - 1)
    stack.push((steps < 0).astype(np.int64), np.full(steps.shape, 2))
    stack.push(size - high, high)
    stack.push(digits.astype(np.int64), np.full(steps.shape, MOST_BITS + 1))


def _pop_far(stack: Stack, count: int) -> Integers:
    digits = stack.pop(np.full(count, MOST_BITS + 1))
    if count and not int(digits.min()) > 0:
        raise Unfit
    high = np.left_shift(np.int64(1), digits - 1)
    size = high + stack.pop(high)
    return np.where(stack.pop(np.full(count, 2)) == 1, -size, size)
