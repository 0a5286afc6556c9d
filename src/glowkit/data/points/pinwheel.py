"""Five blades of a pinwheel."""

import numpy as np

from glowkit.data.points.density import PointDensity, integrate_entropy

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
