"""The rational-quadratic spline with strong parameters: monotone, joined to the identity."""

import pytest
import torch
from torch import Tensor

from glowkit.bijections import RationalQuadraticSpline


def strong(bins: int, elements: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(1, elements * (3 * bins - 1), generator=generator).double()


@pytest.mark.parametrize("bins", [1, 2, 8])
def test_round_trip_and_slope(bins: int) -> None:
    spline, h = RationalQuadraticSpline(bins, 3.0), strong(bins, 400)
    x = torch.linspace(-4, 4, 400, dtype=torch.float64).unsqueeze(0).requires_grad_()
    y, ladj = spline(x, h)
    back, inverse_ladj = spline.inverse(y, h)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert (slope > 0).all()
    assert abs(slope.log().sum() - ladj) <= 1e-9
    assert (back - x).abs().max() <= 1e-9
    assert (ladj + inverse_ladj).abs() <= 1e-7
    assert torch.equal(y[x.abs() >= 3], x[x.abs() >= 3])


def test_monotone_and_continuous_across_knots_and_bounds() -> None:
    spline = RationalQuadraticSpline(6, 2.0)
    x = torch.linspace(-2.5, 2.5, 20_001, dtype=torch.float64).reshape(-1, 1)
    y, _ = spline(x, strong(6, 1).expand(len(x), -1) / 3)
    steps = y.diff(dim=0)
    assert (steps > 0).all()
    assert steps.max() < 0.02


@pytest.mark.parametrize(("bins", "bound"), [(0, 1.0), (501, 1.0), (4, 0.0)])
def test_settings_that_cannot_be(bins: int, bound: float) -> None:
    with pytest.raises(ValueError, match="spline"):
        RationalQuadraticSpline(bins, bound)
