"""The grid on which a flow of integers computes, scaling on it, and what maps have in common."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from math import log2
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.tasks.coding.functions import Integers, Reals, rounded
from glowkit.tasks.coding.stack import LARGEST, Stack, Unfit

FRACTION = 14
"""Bits after the point of activations, and of contexts."""

KNOTS = 128
"""Pieces of a curve on an interval of length 1; 512 gave nothing measurable."""

FARTHEST = 1 << 44
"""Of a whole number in the flow: products with scales stay below 2^63."""


@dataclass(frozen=True)
class Grid:
    """Whole numbers m stand for the reals m / unit."""

    unit: int

    @property
    def knot(self) -> int:
        """log2 of the distance of a curve's knots, in steps of the grid."""
        return max(1, round(log2(self.unit / KNOTS)))

    def integers(self, x: Reals) -> Integers:
        """The nearest numbers of the grid.

        Raises:
            Unfit: for what is too far out, or no number.
        """
        m = rounded(x * self.unit)
        check_range(m)
        return m.astype(np.int64)

    def activations(self, m: Integers) -> Tensor:
        """Numbers of the grid as networks take them: whole, in steps of 2^-14."""
        steps = rounded(np.ascontiguousarray(m).astype(np.float64) * (2.0**FRACTION / self.unit))
        return torch.from_numpy(steps)


class Book:
    """What was compiled: its digest tells whether two models code alike.

    Exactly the integers and reals that decide symbols are noted, in the order of the model.
    """

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def note(self, name: str, *arrays: Any) -> None:
        """Note a part by its name and numbers."""
        self.digest.update(name.encode() + b"\n")
        for array in arrays:
            values = np.ascontiguousarray(array)
            values = values.astype("<f8" if values.dtype.kind == "f" else "<i8")
            self.digest.update(str(values.shape).encode() + b"\n" + values.tobytes())


def numbers(tensor: Tensor) -> Reals:
    """A parameter or buffer in float64, which holds float32 exactly."""
    return tensor.detach().cpu().double().numpy()


def no_form(part: object) -> GlowkitError:
    """The sentence for a class outside of the tables."""
    return GlowkitError(
        f"{type(part).__name__} has no exact form on integers, so that a model with it cannot"
        " compress images; use a family that can: Glow, RealNVP, Flow++, Jet or NICE"
    )


class IntegerMap(ABC):
    """A bijection on whole numbers, (N, ...), which takes bits from a stack and leaves bits there.

    Both directions undo each other, the stack included, whatever the map's coefficients.
    `given` is the context in activations, or None.
    """

    @abstractmethod
    def forward(self, stack: Stack, x: Integers, given: Tensor | None) -> Integers:
        """Map x to y."""

    @abstractmethod
    def inverse(self, stack: Stack, y: Integers, given: Tensor | None) -> Integers:
        """Map y to x."""


def check_range(values: Reals | Integers) -> None:
    """Raise Unfit for what scales could not be multiplied with, NaN included."""
    if values.size and not float(np.abs(values).max()) < FARTHEST:
        raise Unfit


def chunks(stack: Stack, size: int) -> Iterator[slice]:
    """Parts of so many elements that the stack's chunk allows."""
    for start in range(0, size, stack.chunk):
        yield slice(start, min(size, start + stack.chunk))


COARSE, FINE = 9, 12
"""Digits of scales: of those of elements, and of the few that are of a channel."""


def ratio(scale: Reals, digits: int = COARSE) -> tuple[Integers, Integers]:
    """s > 0 as R / S, S a power of two from 1 to 2^20 and R of about digits + 1 bits.

    >>> [int(part) for part in ratio(np.array(0.75))]
    [768, 1024]
    """
    _, exponent = np.frexp(scale)
    shift = np.clip(digits + 1 - exponent, 0, 20).astype(np.int64)
    s = np.left_shift(np.int64(1), shift)
    r = np.maximum(rounded(np.minimum(scale, 2.0**40) * s), 1)
    if r.size and not float(r.max()) < LARGEST:
        raise Unfit
    one = r == s  # a scale of 1 takes no bits
    return np.where(one, 1, r).astype(np.int64), np.where(one, 1, s)


def scaled(stack: Stack, x: Integers, r: Integers, s: Integers) -> Integers:
    """y = x R / S: with e popped of R, t = R x + e, y = ⌊t / S⌋, and t mod S pushed of S.

    The bits pushed less those popped are log2 S − log2 R an element, which is −log2 of the scale.
    R and S broadcast against x. Source: Zhang et al. 2021 (iFlow), section 3, the modular scale
    transform.
    """
    check_range(x)
    return _scaled(stack, x, r, s, list(chunks(stack, x.size)))


def unscaled(stack: Stack, y: Integers, r: Integers, s: Integers) -> Integers:
    """x of `scaled`: the same with R and S exchanged, the last element first."""
    check_range(y)
    return _scaled(stack, y, s, r, list(chunks(stack, y.size))[::-1])


def _scaled(stack: Stack, x: Integers, r: Integers, s: Integers, parts: list[slice]) -> Integers:
    flat, rs, ss = x.reshape(-1), _as(r, x), _as(s, x)
    y = np.empty_like(flat)
    for part in parts:
        of, by = rs[part], ss[part]
        t = of * flat[part] + stack.pop(of)
        y[part] = whole = np.floor_divide(t, by)
        stack.push(t - whole * by, by)
    return y.reshape(x.shape)


def _as(values: Integers, x: Integers) -> Integers:
    if np.ndim(values) == 0:
        return np.full(x.size, values)
    return values.reshape(-1) if values.shape == x.shape else _broadcast(values, x)


def _broadcast(values: Integers, x: Integers) -> Integers:
    return np.broadcast_to(values, x.shape).reshape(-1)
