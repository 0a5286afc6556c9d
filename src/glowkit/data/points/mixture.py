"""Mixtures of round Gaussians: a few for eight modes, thousands for a curve with Gaussian noise."""

import numpy as np

from glowkit.data.points.density import PointDensity, integrate_entropy

_ROWS = 128  # at a time: rows x components numbers then fit a processor's cache


class GaussianMixture(PointDensity):
    """p(x) = Σ w_k N(x; c_k, σ² I).

    A curve with Gaussian noise is the same integral instead of the sum; nodes of a quadrature
    rule closer than σ make the two equal to about nine digits (`curves.py`).

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
