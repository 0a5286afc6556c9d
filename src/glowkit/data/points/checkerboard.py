"""Eight squares of a checkerboard."""

import numpy as np

from glowkit.data.points.density import PointDensity


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
