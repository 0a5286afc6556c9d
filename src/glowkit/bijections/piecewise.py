"""The piecewise-linear and piecewise-quadratic transformers of neural importance sampling."""

import torch
from torch import Tensor

from glowkit.bijections.coupling import Transformer
from glowkit.core import sum_per_example

SMALLEST_DENSITY = 1e-3
"""Of a bin: that share of all is uniform, so that both directions stay invertible."""


class _Piecewise(Transformer):
    """A distribution function on [−B, B], in pieces, and the identity outside."""

    def __init__(self, bins: int, bound: float) -> None:
        super().__init__()
        if not 1 <= bins <= 1000:
            raise ValueError(f"a piecewise map needs 1 to 1000 bins, not {bins}")
        if not bound > 0:
            raise ValueError(f"the bound of a piecewise map must be positive, not {bound}")
        self.bins = bins
        self.bound = bound

    def _unit(self, values: Tensor) -> Tensor:
        """[−B, B] onto [0, 1]; what is outside, onto the ends."""
        return (values.clamp(-self.bound, self.bound) / self.bound + 1) / 2

    def _result(self, given: Tensor, unit: Tensor, density: Tensor) -> tuple[Tensor, Tensor]:
        """The value at `given`, from that on [0, 1], and Σ ln of the density there."""
        # Rounding may end beyond the bound; and where the map is NaN, it has no outside.
        inside = (2 * self.bound * unit - self.bound).clamp(-self.bound, self.bound)
        outside = (given.abs() >= self.bound) & (unit == unit)
        log_density = density.log().masked_fill(outside, 0.0)
        return torch.where(outside, given, inside), sum_per_example(log_density)

    def extra_repr(self) -> str:
        return f"{self.bins} bins within {self.bound}"


class PiecewiseLinear(_Piecewise):
    """A piecewise-linear distribution function: K bins of equal width, each of one density.

    With x and y on [0, 1], to which [−B, B] is scaled, and q the masses of the bins, the softmax of
    K parameters: y = Σ_{j<k} q_j + q_k (K x − k), k = ⌊K x⌋; the inverse likewise; ladj = Σ ln K
    q_k. Zeros are the identity, which the map also is outside of [−B, B].

    Cost: about 4 passes over K numbers an element. Source: Müller et al. 2019, section 4.1; here
    a share of 1e-3 of the mass is uniform.

    >>> layer, x = PiecewiseLinear(4, bound=1.0), torch.tensor([[0.25, 3.0]])
    >>> layer(x, torch.zeros(1, 8))[0].tolist()
    [[0.25, 3.0]]
    """

    def __init__(self, bins: int, bound: float) -> None:
        super().__init__(bins, bound)
        self.parameters_per_channel = bins

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        masses, before = self._masses(x, h)
        place = self.bins * self._unit(x)
        k = place.detach().nan_to_num().long().clamp(0, self.bins - 1).unsqueeze(2)
        mass, start = masses.gather(2, k).squeeze(2), before.gather(2, k).squeeze(2)
        y = start + mass * (place - k.squeeze(2))
        return self._result(x, y, self.bins * mass)

    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        masses, before = self._masses(y, h)
        unit = self._unit(y)
        k = (unit.unsqueeze(2) >= before[:, :, 1:]).sum(2, keepdim=True)
        mass, start = masses.gather(2, k).squeeze(2), before.gather(2, k).squeeze(2)
        x = (k.squeeze(2) + (unit - start) / mass) / self.bins
        x, ladj = self._result(y, x, self.bins * mass)
        return x, -ladj

    def _masses(self, values: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The mass of each bin, and of all before it."""
        masses = self.group(values, h).softmax(2)
        masses = SMALLEST_DENSITY / self.bins + (1 - SMALLEST_DENSITY) * masses
        return masses, masses.cumsum(2) - masses


class PiecewiseQuadratic(_Piecewise):
    """A piecewise-quadratic distribution function: K bins, whose density is linear in each.

    With x and y on [0, 1], to which [−B, B] is scaled; bins of widths w, the softmax of K
    parameters; densities v at their K + 1 ends, the exponential of as many, divided so that
    Σ ½ (v_k + v_{k+1}) w_k = 1; and α = (x − Σ_{j<k} w_j) / w_k in the bin of x:
    y = ½ (v_{k+1} − v_k) w_k α² + v_k w_k α + Σ_{j<k} ½ (v_j + v_{j+1}) w_j. inverse: the root α in
    [0, 1] of that quadratic; ladj = Σ ln (v_k + (v_{k+1} − v_k) α). Zeros are the identity, which
    the map also is outside of [−B, B]. A difference to `RationalQuadraticSpline` is that the
    density at the bounds is free.

    Cost: about 7 passes over K numbers an element. Source: Müller et al. 2019, section 4.2; here a
    share of 1e-3 of the mass is uniform, and each bin has at least 1e-3 / K of the width.

    >>> layer, x = PiecewiseQuadratic(4, bound=1.0), torch.tensor([[0.25, 3.0]])
    >>> layer(x, torch.zeros(1, 18))[0].tolist()
    [[0.25, 3.0]]
    """

    def __init__(self, bins: int, bound: float) -> None:
        super().__init__(bins, bound)
        self.parameters_per_channel = 2 * bins + 1

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        unit = self._unit(x)
        left, w, start, v0, v1 = self._bin(unit, h, by=0)
        alpha = (unit - left) / w
        y = start + w * alpha * (v0 + (v1 - v0) * alpha / 2)
        return self._result(x, y, v0 + (v1 - v0) * alpha)

    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        unit = self._unit(y)
        left, w, start, v0, v1 = self._bin(unit, h, by=1)
        rise = (unit - start) / w
        # This form of the root has no cancellation, whichever of the densities is the larger.
        root = (v0 * v0 + 2 * (v1 - v0) * rise).clamp_min(0).sqrt()
        alpha = 2 * rise / (v0 + root)
        x, ladj = self._result(y, left + w * alpha, v0 + (v1 - v0) * alpha)
        return x, -ladj

    def _bin(self, unit: Tensor, h: Tensor, by: int) -> tuple[Tensor, ...]:
        """The left end, width and mass before the bins in which values lie, by x (0) or y (1), and
        the densities at both ends."""
        raw_widths, raw = self.group(unit, h).split([self.bins, self.bins + 1], dim=2)
        widths = raw_widths.softmax(2)
        widths = SMALLEST_DENSITY / self.bins + (1 - SMALLEST_DENSITY) * widths
        v = raw.softmax(2)
        low, high = v[:, :, :-1], v[:, :, 1:]
        v = v / (widths * (low + high) / 2).sum(2, keepdim=True)
        v = SMALLEST_DENSITY + (1 - SMALLEST_DENSITY) * v
        masses = widths * (v[:, :, :-1] + v[:, :, 1:]) / 2
        left, before = widths.cumsum(2) - widths, masses.cumsum(2) - masses
        k = (unit.unsqueeze(2) >= (left, before)[by][:, :, 1:]).sum(2, keepdim=True)
        picked = (left, widths, before, v, v[:, :, 1:])
        return tuple(values.gather(2, k).squeeze(2) for values in picked)
