"""Curves as nodes and weights: the densities that are a curve with Gaussian noise around it.

Definitions as in FFJORD's toy data (Grathwohl et al. 2019), which takes circles and moons from
scikit-learn, with positions along the curve uniform instead of evenly spaced.
"""

import numpy as np

from glowkit.data.points.mixture import GaussianMixture


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
