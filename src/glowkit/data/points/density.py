"""What a 2-D toy density is: a sampler, its exact log-density, and its entropy."""

from abc import ABC, abstractmethod

import numpy as np


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
