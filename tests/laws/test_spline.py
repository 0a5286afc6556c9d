"""Transformers in pieces with strong parameters: monotone, joined to the identity."""

import pytest
import torch
from torch import Tensor

from glowkit.bijections import (
    PiecewiseLinear,
    PiecewiseQuadratic,
    RationalQuadraticSpline,
    Transformer,
)

KINDS = [RationalQuadraticSpline, PiecewiseLinear, PiecewiseQuadratic]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def strong(spline: Transformer, elements: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    count = elements * spline.parameters_per_channel
    return 3 * torch.randn(1, count, generator=generator).double()


@kinds
@pytest.mark.parametrize("bins", [1, 2, 8])
def test_round_trip_and_slope(kind: type, bins: int) -> None:
    spline = kind(bins, 3.0)
    h = strong(spline, 400)
    x = torch.linspace(-4, 4, 400, dtype=torch.float64).unsqueeze(0).requires_grad_()
    y, ladj = spline(x, h)
    back, inverse_ladj = spline.inverse(y, h)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert (slope > 0).all()
    assert abs(slope.log().sum() - ladj) <= 1e-9
    assert (back - x).abs().max() <= 1e-9
    assert (ladj + inverse_ladj).abs() <= 1e-7
    assert torch.equal(y[x.abs() >= 3], x[x.abs() >= 3])


@kinds
def test_monotone_and_continuous_across_knots_and_bounds(kind: type) -> None:
    spline = kind(6, 2.0)
    x = torch.linspace(-2.5, 2.5, 20_001, dtype=torch.float64).reshape(-1, 1)
    y, _ = spline(x, strong(spline, 1).expand(len(x), -1) / 3)
    steps = y.diff(dim=0)
    assert (steps > 0).all()
    assert steps.max() < 0.02


@kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_leaves_the_bounds(kind: type, dtype: torch.dtype) -> None:
    """Not by rounding either, after which a density on the interval would be 0."""
    spline = kind(16, 1.0)
    h = strong(spline, 4000).to(dtype)
    for x in (torch.rand(1, 4000, dtype=dtype) * 2 - 1, 1 - 1e-9 * torch.rand(1, 4000).to(dtype)):
        for there in (x, -x):
            assert spline(there, h)[0].abs().max() <= 1
            assert spline.inverse(there, h)[0].abs().max() <= 1


@kinds
@pytest.mark.parametrize(("bins", "bound"), [(0, 1.0), (1001, 1.0), (4, 0.0)])
def test_settings_that_cannot_be(kind: type, bins: int, bound: float) -> None:
    with pytest.raises(ValueError, match=r"spline|piecewise"):
        kind(bins, bound)
