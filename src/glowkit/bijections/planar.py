"""Planar and radial flows: the layers of the first paper on normalizing flows, and their inverses.

Each is the identity but along one direction, or towards one point, so that a ladj costs O(D) and a
layer has about 2D numbers. Both can be inverted everywhere, and here are.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glowkit.core import Bijection, sum_per_example

SMALLEST_SLOPE = 1e-3
"""Least derivative along the direction or radius that a layer changes, so that it can be undone."""

SMALLEST_SQUARE = 1e-6
"""Least |w|² that a planar layer divides by."""

HALVINGS = {torch.float32: 40, torch.float64: 70}
"""A bracket that is 1000 wide ends at a rounding of 1e-9 or 1e-18; Newton steps come on top."""

NEWTON_STEPS = 4
"""From a root already found they change nothing but the derivatives, which they make exact."""


def _slope_of(raw: Tensor) -> Tensor:
    """A slope above the least one: softplus, shifted so that 0 gives 1."""
    return SMALLEST_SLOPE + F.softplus(raw + math.log(math.expm1(1 - SMALLEST_SLOPE)))


class Planar(Bijection):
    """Bend space along one direction: y = x + û tanh(wᵀx + b).

    With t = tanh(wᵀx + b) and p = 1 + wᵀû > 0, ladj = ln(t² + p (1 − t²)). That p is positive is
    what makes the map invertible, and û = u + (p − 1 − wᵀu) w / |w|² has it so, p being a softplus
    of wᵀu. inverse: a = wᵀx is the one root of a + (p − 1) tanh(a + b) = wᵀy, whose left side
    increases; it lies within |p − 1| of wᵀy, where it is found by bisection, and
    x = y − û tanh(a + b). Its gradients, of any order up to 15, are those of Newton steps from
    there.

    Shapes: (N, D), of any D ≥ 1; u and w are (D,), b is one number. Cost: O(D); the inverse
    evaluates a tanh 40 times (70 in float64) an example, whatever D. Takes no context.
    Source: Rezende and Mohamed 2015, section 4.1 and appendix A.1. Departures: the softplus is
    shifted, so that u = 0 is the identity; p is at least 0.001; and the map goes from data to
    noise, since a likelihood of data needs that direction without a search (there: from noise).

    >>> layer = Planar(2)
    >>> x = torch.tensor([[0.5, -1.0]])
    >>> y, ladj = layer(x)
    >>> torch.allclose(layer.inverse(y)[0], x, atol=1e-6)
    True
    """

    reads_context = False

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        # A unit bend in a direction of its own: layers that began alike would stay alike.
        self.w = nn.Parameter(torch.randn(dimensions) / math.sqrt(dimensions))
        self.u = nn.Parameter(0.01 * torch.randn(dimensions))
        self.b = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        w, u, p = self._bend()
        t = ((x * w).sum(1, keepdim=True) + self.b).tanh()
        return x + u * t, _log_slope(t, p)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        w, u, p = self._bend()
        t = (self._root((y * w).sum(1, keepdim=True), p) + self.b).tanh()
        return y - u * t, -_log_slope(t, p)

    def _bend(self) -> tuple[Tensor, Tensor, Tensor]:
        """w of at least the least length, û, and p = 1 + wᵀû."""
        square = self.w.square().sum().clamp_min(1e-30)
        w = self.w * (SMALLEST_SQUARE / square).sqrt().clamp_min(1)
        along = (w * self.u).sum()
        p = _slope_of(along)
        u = self.u + (p - 1 - along) * w / w.square().sum().clamp_min(SMALLEST_SQUARE)
        return w, u, p

    def _root(self, target: Tensor, p: Tensor) -> Tensor:
        """a with a + (p − 1) tanh(a + b) = target."""
        with torch.no_grad():
            low, high = target - (p - 1).abs(), target + (p - 1).abs()
            for _ in range(HALVINGS.get(target.dtype, 70)):
                a = (low + high) / 2
                above = a + (p - 1) * (a + self.b).tanh() > target
                low, high = torch.where(above, low, a), torch.where(above, a, high)
            a = (low + high) / 2
        for _ in range(NEWTON_STEPS):
            t = (a + self.b).tanh()
            a = a - (a + (p - 1) * t - target) / (t * t + p * (1 - t * t))
        return a

    def extra_repr(self) -> str:
        return f"{len(self.w)} dimensions"


def _log_slope(t: Tensor, p: Tensor) -> Tensor:
    return sum_per_example((t * t + p * (1 - t * t)).log())


class Radial(Bijection):
    """Draw space towards one point, or push it away: y = x₀ + (x − x₀) (1 + (p − 1) c).

    r = |x − x₀|, c = α / (α + r), which falls from 1 at x₀ to 0 far away, and p > 0 is the slope at
    x₀: this is the paper's x + β (x − x₀) / (α + r) with β = α (p − 1). ladj =
    (D − 1) ln(1 + (p − 1) c) + ln(1 + (p − 1) c²). inverse, in closed form: with ρ = |y − x₀| and
    q = ρ − αp, r = ½ (q + √(q² + 4αρ)), and x = x₀ + (y − x₀) / (1 + (p − 1) c).

    Shapes: (N, D), of any D ≥ 1; x₀ is (D,), ln α and p before its softplus are one number each.
    Cost: O(D) both ways. Takes no context. Source: Rezende and Mohamed 2015, section 4.1 and
    appendix A.2. Departures: β is counted in α, so that a raw p of 0 is the identity whatever α is;
    p is at least 0.001; α = exp(a), which cannot be 0; and the map goes from data to noise.

    >>> layer, x = Radial(2), torch.tensor([[0.5, -1.0]])
    >>> torch.allclose(layer(x)[0], x, atol=1e-6)  # a fresh one is the identity, to rounding
    True
    """

    reads_context = False

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.randn(dimensions))
        self.log_alpha = nn.Parameter(torch.zeros(()))
        self.raw_slope = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        away = x - self.centre
        r = torch.linalg.vector_norm(away, dim=1, keepdim=True)
        gain, ladj = self._gain(r, x.shape[1])
        return self.centre + away * gain, ladj

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        alpha, p = self.log_alpha.exp(), _slope_of(self.raw_slope)
        away = y - self.centre
        rho = torch.linalg.vector_norm(away, dim=1, keepdim=True)
        q = rho - alpha * p
        # Of the two forms of the root, the one in which nothing cancels.
        both = q.abs() + torch.hypot(q, 2 * (alpha * rho).sqrt())
        r = torch.where(q > 0, both / 2, 2 * alpha * rho / both)
        gain, ladj = self._gain(r, y.shape[1])
        return self.centre + away / gain, -ladj

    def _gain(self, r: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
        """By how much what is r away from the centre is stretched, and ladj."""
        excess = _slope_of(self.raw_slope) - 1
        alpha = self.log_alpha.exp()
        c = alpha / (alpha + r)
        across, along = torch.log1p(excess * c), torch.log1p(excess * c * c)
        return 1 + excess * c, sum_per_example((dimensions - 1) * across + along)

    def extra_repr(self) -> str:
        return f"{len(self.centre)} dimensions"
