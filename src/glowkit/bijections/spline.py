"""The rational-quadratic spline transformer."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.bijections.coupling import Transformer
from glowkit.core import sum_per_example

SMALLEST_BIN = 1e-3
"""Least width and height of a bin, as a share of [-B, B]."""

SMALLEST_SLOPE = 1e-3


class RationalQuadraticSpline(Transformer):
    """A monotone spline of K bins on [−B, B], and the identity outside.

    In the bin of x, from (x_k, y_k) and w wide and h high, with ξ = (x − x_k) / w, δ = h / w, knot
    slopes d, and S = d_{k+1} + d_k − 2δ: y = y_k + h (δξ² + d_k ξ(1 − ξ)) / (δ + S ξ(1 − ξ)).
    inverse: the root ξ in [0, 1] of a quadratic, in closed form; ladj = Σ ln [δ² (d_{k+1} ξ² +
    2δ ξ(1 − ξ) + d_k (1 − ξ)²)] − 2 ln (δ + S ξ(1 − ξ)). The parameters are K widths and K heights
    before a softmax, and K − 1 slopes before a softplus; the slope at both ends is 1, as outside.
    With h = 0 the map is the identity.

    Cost: about 10 passes over K numbers an element, the same in both directions. Source: Durkan et
    al. 2019, section 3 and appendix A; the softplus is shifted, so that zeros give slopes of 1.

    >>> spline, x = RationalQuadraticSpline(8, bound=4.0), torch.tensor([[-1.5, 6.0]])
    >>> y, ladj = spline(x, torch.zeros(1, 2 * 23))
    >>> torch.allclose(y, x), abs(ladj.item()) < 1e-5
    (True, True)
    """

    def __init__(self, bins: int, bound: float) -> None:
        super().__init__()
        if not 1 <= bins <= 1 / (2 * SMALLEST_BIN):
            raise ValueError(f"a spline needs 1 to {1 / (2 * SMALLEST_BIN):.0f} bins, not {bins}")
        if not bound > 0:
            raise ValueError(f"the bound of a spline must be positive, not {bound}")
        self.bins = bins
        self.bound = bound
        self.parameters_per_channel = 3 * bins - 1

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        inside = x.clamp(-self.bound, self.bound)
        x0, w, y0, height, d0, d1 = self._bin(inside, h, by=0)
        xi, delta = (inside - x0) / w, height / w
        mixed = xi * (1 - xi)
        below = delta + (d1 + d0 - 2 * delta) * mixed
        # Rounding may end beyond the bound, where a density on the interval is 0.
        y = (y0 + height * (delta * xi * xi + d0 * mixed) / below).clamp(-self.bound, self.bound)
        # Not where the spline is NaN: it has no outside.
        outside = (x.abs() >= self.bound) & (below == below)
        return torch.where(outside, x, y), self._ladj(xi, delta, d0, d1, outside)

    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        inside = y.clamp(-self.bound, self.bound)
        x0, w, y0, height, d0, d1 = self._bin(inside, h, by=1)
        delta, rise = height / w, inside - y0
        curved = rise * (d1 + d0 - 2 * delta)
        a, b, c = height * (delta - d0) + curved, height * d0 - curved, -delta * rise
        # b > 0 or nearly so where c is 0: this form of the root has no cancellation at ξ = 0.
        xi = -2 * c / (b + (b * b - 4 * a * c).clamp_min(0).sqrt())
        outside = (y.abs() >= self.bound) & (b == b)
        x = torch.where(outside, y, (x0 + xi * w).clamp(-self.bound, self.bound))
        return x, -self._ladj(xi, delta, d0, d1, outside)

    def _bin(self, values: Tensor, h: Tensor, by: int) -> tuple[Tensor, ...]:
        """x_k, w, y_k, h, d_k and d_{k+1} of the bins in which values lie, by x (0) or y (1)."""
        raw, slopes = self.group(values, h).split([2 * self.bins, self.bins - 1], dim=2)
        # Widths and heights in one tensor, (N, C, 2, K, ...): each operation once for both.
        softmax = raw.unflatten(2, (2, self.bins)).softmax(3)
        share = SMALLEST_BIN + (1 - SMALLEST_BIN * self.bins) * softmax
        sides = 2 * self.bound * share
        knots = sides.cumsum(3) - sides - self.bound
        k = (values.unsqueeze(2) >= knots[:, :, by, 1:]).sum(2, keepdim=True)
        both = k.unsqueeze(2).expand(-1, -1, 2, *[-1] * (k.dim() - 2))
        (x0, y0), (w, height) = (
            values.gather(3, both).squeeze(3).unbind(2) for values in (knots, sides)
        )
        # Zero, which is a slope of 1, at both ends; then of two knots an element alone.
        ends = F.pad(slopes, [0, 0] * (k.dim() - 3) + [1, 1])
        picked = ends.gather(2, torch.cat([k, k + 1], dim=2))
        slopes = SMALLEST_SLOPE + F.softplus(picked + math.log(math.expm1(1 - SMALLEST_SLOPE)))
        d0, d1 = slopes.unbind(2)
        return x0, w, y0, height, d0, d1

    @staticmethod
    def _ladj(xi: Tensor, delta: Tensor, d0: Tensor, d1: Tensor, outside: Tensor) -> Tensor:
        mixed = xi * (1 - xi)
        slope = d1 * xi * xi + 2 * delta * mixed + d0 * (1 - xi) * (1 - xi)
        below = delta + (d1 + d0 - 2 * delta) * mixed
        log_slope = 2 * delta.log() + slope.log() - 2 * below.log()
        return sum_per_example(log_slope.masked_fill(outside, 0.0))

    def extra_repr(self) -> str:
        return f"{self.bins} bins within {self.bound}"
