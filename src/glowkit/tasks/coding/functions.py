"""exp, log and what is made of them, by single IEEE operations: the same bits on every machine.

Every numpy operation here rounds once, as IEEE 754 says. The C library's functions, and vectorised
ones, differ between machines, and between the lanes of one vector and its tail.
"""

import math

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

_HIGH, _LOW = 0.693147180369123816490, 1.90821492927058770002e-10
"""ln 2 in two parts; the first has so many zeros at its end that multiples of it are exact."""

_EXPONENTIAL = [1 / math.factorial(n) for n in range(14)]
_LARGEST = 700.0


def exp(x: Reals) -> Reals:
    """exp of x within ±700, which x is clipped to; 1e-15 of it is the largest error.

    x = k ln 2 + r with |r| ≤ ½ ln 2, and a polynomial of degree 13 of r.

    >>> float(abs(exp(np.array([1.0])) / math.e - 1)[0]) < 1e-15
    True
    """
    x = np.clip(x, -_LARGEST, _LARGEST)
    k = np.floor(x * 1.4426950408889634 + 0.5)
    r = (x - k * _HIGH) - k * _LOW
    p = np.full_like(r, _EXPONENTIAL[-1])
    for coefficient in _EXPONENTIAL[-2::-1]:
        p *= r
        p += coefficient
    return np.ldexp(p, k.astype(np.int32))


def log(x: Reals) -> Reals:
    """ln x for x > 0, as 2 artanh((m − 1) / (m + 1)) + e ln 2 with x = m 2^e, m within √½ and √2.

    >>> float(log(np.array([math.e]))[0])
    1.0
    """
    m, e = np.frexp(x)
    low = m < 0.7071067811865476
    m = np.where(low, m * 2, m)
    power = e.astype(np.float64) - low
    f = (m - 1) / (m + 1)
    square = f * f
    p = np.full_like(f, 1 / 23)
    for n in range(21, 0, -2):
        p *= square
        p += 1 / n
    return 2 * f * p + power * 0.6931471805599453


def sigmoid(x: Reals) -> Reals:
    """1 / (1 + exp(−x))."""
    return 1 / (1 + exp(-x))


def tanh(x: Reals) -> Reals:
    """(1 − q) / (1 + q) with q = exp(−2 |x|), and the sign of x."""
    q = exp(-2 * np.abs(x))
    return np.copysign((1 - q) / (1 + q), x)


def softplus(x: Reals) -> Reals:
    """ln(1 + exp(x)), as max(x, 0) + ln(1 + exp(−|x|))."""
    return np.maximum(x, 0) + log(1 + exp(-np.abs(x)))


def elu(x: Reals) -> Reals:
    """x, or exp(x) − 1 where x is negative."""
    return np.where(x > 0, x, exp(np.minimum(x, 0)) - 1)


_ERROR = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def gelu(x: Reals) -> Reals:
    """x Φ(x), with an error of 1e-7 |x|.

    Φ(x) = ½ erfc(−x / √2), and erfc(z), z > 0, is exp(−z²) times a polynomial of t = 1 / (1 + p z).
    Source: Abramowitz and Stegun, 7.1.26.

    >>> abs(float(gelu(np.array([1.0]))[0]) - 0.8413447) < 1e-7
    True
    """
    z = np.abs(x) * 0.7071067811865476
    t = 1 / (1 + 0.3275911 * z)
    p = np.full_like(t, _ERROR[-1])
    for coefficient in _ERROR[-2::-1]:
        p *= t
        p += coefficient
    tail = 0.5 * p * t * exp(-z * z)
    return x * np.where(x > 0, 1 - tail, tail)


def rounded(x: Reals) -> Reals:
    """The nearest whole number, halves up."""
    return np.floor(x + 0.5)


def total(x: Reals) -> Reals:
    """Sums along the last axis, one term after the other: in one order on every machine."""
    return np.add.accumulate(x, axis=-1)[..., -1]
