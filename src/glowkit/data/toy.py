"""Two-dimensional densities in closed form: samplers, log p and entropy."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from glowkit.system.errors import GlowkitError


class PointDensity(ABC):
    """A density of points in the plane, known exactly.

    To write one: set `half_side` and implement the three methods. Arrays are float64.
    half_side: all but about 1e-15 of the mass lies in the square [−half_side, half_side]².
    """

    half_side: float

    @abstractmethod
    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n points, (n, 2)."""

    @abstractmethod
    def log_prob(self, points: np.ndarray) -> np.ndarray:
        """log p of points (N, 2), (N,) nats."""

    @abstractmethod
    def entropy(self) -> float:
        """The differential entropy −∫ p ln p, nats."""


def integrate_entropy(density: PointDensity, step: float) -> float:
    """−∫ p ln p by the trapezoidal rule on a square grid.

    On a smooth density that vanishes at the border the error falls faster than any power of the
    step: with a step of a third of its finest detail it is below 1e-6 nats.
    """
    points = grid(density.half_side, round(2 * density.half_side / step))
    log_p = density.log_prob(points)
    cell = (2 * density.half_side) ** 2 / len(points)
    p_log_p = np.exp(log_p) * np.maximum(log_p, -1e3)  # where p is 0, p ln p is 0 too
    return float(-cell * p_log_p.sum())


def grid(half_side: float, cells: int) -> np.ndarray:
    """The centres of cells x cells squares of [−half_side, half_side]², (cells², 2), row by row.

    >>> grid(1.0, 2).tolist()
    [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]
    """
    axis = half_side * ((2 * np.arange(cells) + 1) / cells - 1)
    x, y = np.meshgrid(axis, axis)
    return np.stack([x.ravel(), y.ravel()], axis=1)


_ROWS = 128  # at a time: rows x components numbers then fit a processor's cache


class GaussianMixture(PointDensity):
    """p(x) = Σ w_k N(x; c_k, σ² I).

    A curve with Gaussian noise is the same integral instead of the sum; nodes of a quadrature
    rule closer than σ make the two equal to about nine digits (as in `moons`).

    centres: c, (K, 2). weights: w, (K,), of sum 1. std: σ.
    """

    def __init__(self, centres: np.ndarray, weights: np.ndarray, std: float) -> None:
        self.centres = centres
        self.weights = weights
        self.std = std
        self.half_side = float(np.abs(centres).max()) + 8 * std

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        chosen = generator.choice(len(self.centres), n, p=self.weights)
        return self.centres[chosen] + self.std * generator.standard_normal((n, 2))

    def log_prob(self, points: np.ndarray) -> np.ndarray:
        parts = np.array_split(points, max(1, len(points) // _ROWS))
        return np.concatenate([self._log_prob(part) for part in parts])

    def _log_prob(self, points: np.ndarray) -> np.ndarray:
        exponents = points @ self.centres.T  # x·c − ½|c|², and − ½|x|² added last
        exponents -= 0.5 * (self.centres**2).sum(1)
        exponents /= self.std**2
        largest = exponents.max(1, keepdims=True)
        exponents -= largest
        total = np.exp(exponents, out=exponents) @ self.weights
        rest = 0.5 * (points**2).sum(1) / self.std**2 + np.log(2 * np.pi * self.std**2)
        return np.log(total) + largest[:, 0] - rest

    def entropy(self) -> float:
        return integrate_entropy(self, self.std / 3)


class Checkerboard(PointDensity):
    """Uniform on 8 of the 16 squares of side 2 that make [−4, 4]²: log p = −ln 32 there.

    The squares are those whose column and row are both even or both odd, as in FFJORD.
    """

    half_side = 4.0

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        column = generator.integers(0, 4, n)
        row = 2 * generator.integers(0, 2, n) + column % 2
        corner = 2.0 * np.stack([column, row], axis=1) - 4
        return corner + 2 * generator.random((n, 2))

    def log_prob(self, points: np.ndarray) -> np.ndarray:
        inside = (np.abs(points) < self.half_side).all(1)
        same_parity = np.floor(points / 2).sum(1) % 2 == 0
        return np.where(inside & same_parity, -np.log(32), -np.inf)

    def entropy(self) -> float:
        return float(np.log(32))


def eight_gaussians() -> GaussianMixture:
    """Eight modes on a circle of radius 0.7, σ = 0.1 (the scale of tatsy's flows)."""
    return GaussianMixture(_circle(0.7, 8), np.full(8, 1 / 8), 0.1)


def circles() -> GaussianMixture:
    """Two circles of radii 3 and 1.5, equally likely, σ = 0.24."""
    return _rings([3.0, 1.5], 0.24)


def rings() -> GaussianMixture:
    """Four circles of radii 3, 2.25, 1.5 and 0.75, equally likely, σ = 0.08."""
    return _rings([3.0, 2.25, 1.5, 0.75], 0.08)


def moons() -> GaussianMixture:
    """Two half circles of radius 2 that reach into each other, σ = 0.2."""
    t, weights = _quadrature(0, np.pi)
    upper = np.stack([np.cos(t), np.sin(t)], axis=1)
    lower = np.stack([1 - np.cos(t), 0.5 - np.sin(t)], axis=1)
    centres = 2 * np.concatenate([upper, lower]) + [-1, -0.2]
    return GaussianMixture(centres, np.tile(weights, 2) / 2, 0.2)


def two_spirals() -> GaussianMixture:
    """Two arms ±n·(−cos n, sin n) / 3, n² uniform up to (3π)², σ = 0.1.

    FFJORD adds a uniform jitter of a sixth to each coordinate besides; here all noise is Gaussian.
    """
    end = 3 * np.pi
    n, weights = _quadrature(0, end)
    arm = (n / 3)[:, None] * np.stack([-np.cos(n), np.sin(n)], axis=1)
    weights = weights * 2 * n / end  # the density of n, 2n / end², times the interval's length
    return GaussianMixture(np.concatenate([arm, -arm]), np.tile(weights, 2) / 2, 0.1)


def _rings(radii: list[float], std: float) -> GaussianMixture:
    # On a circle equal steps are as good as any rule; 512 are at most half of σ apart.
    centres = np.concatenate([_circle(radius, 512) for radius in radii])
    return GaussianMixture(centres, np.full(len(centres), 1 / len(centres)), std)


def _circle(radius: float, nodes: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(nodes) / nodes
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _quadrature(start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (of sum 1) of Gauss's rule of 8 points on each of 128 equal intervals."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    edges = np.linspace(start, end, 129)
    middle, half = (edges[1:] + edges[:-1]) / 2, (end - start) / 256
    return (middle[:, None] + half * nodes).ravel(), np.tile(weights, 128) / 256


BLADES = 5
RADIAL, TANGENTIAL = 0.3, 0.1  # deviations along and across a blade, which is centred at radius 1
TWIST = 0.25
SCALE = 2.0


class Pinwheel(PointDensity):
    """x = 2 R(2πk/5 + ¼ exp |f|) f with f ~ N((1, 0), diag(0.3², 0.1²)) and k uniform.

    FFJORD (after Johnson et al. 2016) twists by exp f₁, here it is by exp |f|, which hardly differs
    and preserves area: p(x) = ¼ · ⅕ Σ_k N(f_k), exactly, with f_k the point turned back.
    """

    half_side = SCALE * (1 + 8 * RADIAL)

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        f = generator.standard_normal((n, 2)) * [RADIAL, TANGENTIAL] + [1, 0]
        blade = generator.integers(0, BLADES, n)
        return SCALE * _turn(f, 2 * np.pi * blade / BLADES + _twist(f))

    def log_prob(self, points: np.ndarray) -> np.ndarray:
        x = points / SCALE
        total = np.full(len(x), -np.inf)
        for blade in range(BLADES):
            f = _turn(x, -2 * np.pi * blade / BLADES - _twist(x))
            squares = ((f - [1, 0]) / [RADIAL, TANGENTIAL]) ** 2
            total = np.logaddexp(total, -0.5 * squares.sum(1))
        return total - np.log(2 * np.pi * RADIAL * TANGENTIAL * BLADES * SCALE**2)

    def entropy(self) -> float:
        return integrate_entropy(self, 0.015)  # the twist makes blades a quarter as thick outside


def _twist(f: np.ndarray) -> np.ndarray:
    # Far outside, where p is 0 whatever the angle, exp would overflow.
    return TWIST * np.exp(np.minimum(np.hypot(f[:, 0], f[:, 1]), 100))


def _turn(f: np.ndarray, angle: np.ndarray) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * f[:, 0] - sin * f[:, 1], sin * f[:, 0] + cos * f[:, 1]], axis=1)


POINTS: dict[str, Callable[[], PointDensity]] = {
    "8gaussians": eight_gaussians,
    "checkerboard": Checkerboard,
    "2spirals": two_spirals,
    "circles": circles,
    "moons": moons,
    "pinwheel": Pinwheel,
    "rings": rings,
}

SIZES = {"train": 65536, "validation": 8192, "test": 65536}


class PointSplit(Dataset[Tensor]):
    """Points of one split by row, float32.

    >>> split = PointSplit(np.zeros((5, 2)))
    >>> len(split), split[0].shape, split.__getitems__([1, 3]).shape
    (5, torch.Size([2]), torch.Size([2, 2]))
    """

    def __init__(self, points: np.ndarray) -> None:
        self.points = torch.from_numpy(points.astype(np.float32))

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> Tensor:
        return self.points[index].clone()

    def __getitems__(self, indices: Sequence[int] | slice | np.ndarray) -> Tensor:
        """A whole batch, (B, 2)."""
        rows = indices if isinstance(indices, slice) else np.asarray(indices, dtype=np.int64)
        return self.points[rows].clone()


@dataclass(frozen=True)
class PointSource:
    """Points ready for training, and the density they come from.

    name: the words given to `open_source`. splits: "train", "validation" and "test".
    """

    things: ClassVar[str] = "points"
    class_names: ClassVar[tuple[str, ...]] = ()

    name: str
    splits: dict[str, PointSplit]
    density: PointDensity
    notes: tuple[str, ...] = ()


def open_points(spec: str, name: str) -> PointSource:
    """The density of that name, and 65,536 / 8,192 / 65,536 points of it, always the same ones.

    Raises GlowkitError for a name that does not exist.

    >>> source = open_points("points:moons", "moons")
    >>> source.splits["validation"].points.shape
    torch.Size([8192, 2])
    """
    if name not in POINTS:
        raise GlowkitError(f"there are no points {name!r}; choose one of {', '.join(POINTS)}")
    density = POINTS[name]()
    splits = {}
    for split, size in SIZES.items():
        # PCG64 by name: NumPy may change what default_rng means, and so the test points.
        seed = zlib.crc32(f"{name} {split}".encode())
        generator = np.random.Generator(np.random.PCG64(seed))
        splits[split] = PointSplit(density.sample(size, generator))
    return PointSource(spec, splits, density)
