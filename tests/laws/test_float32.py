"""Float32 round trips of single layers, at the sizes and tolerances the specification measured."""

import pytest
import torch
from torch import Tensor

from glowkit.bijections import Actnorm, Additive, Affine, Conv1x1, Logit, LUMatrix, PlainMatrix
from glowkit.bijections.linear import InvertibleMatrix
from glowkit.core import Bijection

N = 64


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def error(layer: Bijection, x: Tensor) -> float:
    with torch.no_grad():
        return (layer.inverse(layer(x)[0])[0] - x).abs().max().item()


@pytest.mark.parametrize("factored", [LUMatrix, PlainMatrix])
@pytest.mark.parametrize(
    ("channels", "tolerance"), [(12, 6e-7), (48, 1e-6), (96, 2e-6), (384, 4e-6)]
)
def test_conv1x1(factored: type[InvertibleMatrix], channels: int, tolerance: float) -> None:
    torch.manual_seed(0)
    layer = Conv1x1(factored(channels))
    # Twice the specification's figure, which is a typical one of a matrix product's rounding.
    assert error(layer, normal(N, channels, 4, 4)) <= 2 * tolerance


def test_actnorm() -> None:
    x = 3 * normal(N, 12, 8, 8)
    layer = Actnorm(12)
    layer.initialize_from(x + 1)
    assert error(layer, x) <= 3e-6


def test_additive() -> None:
    x, h = normal(N, 12, 8, 8), normal(N, 12, 8, 8, seed=1)
    y, _ = Additive()(x, h)
    assert (Additive().inverse(y, h)[0] - x).abs().max() <= 5e-7


@pytest.mark.parametrize("log_scale", [-0.1, -1.0, -4.0, -8.0, -12.0])
def test_affine_loses_nothing_at_small_scales(log_scale: float) -> None:
    x, shift = normal(N, 12, 8, 8), 3 * normal(N, 12, 8, 8, seed=1)
    # ln σ(r + 2) = log_scale
    raw = torch.full_like(x, log_scale) - torch.log1p(-torch.tensor(log_scale).exp()) - 2
    h = torch.stack([shift, raw], dim=2).flatten(1, 2)
    y, ladj = Affine()(x, h)
    assert ladj[0].item() == pytest.approx(log_scale * x[0].numel(), rel=1e-4)
    assert (Affine().inverse(y, h)[0] - x).abs().max() <= 2e-6


def test_affine_stays_finite_where_the_log_of_a_sigmoid_would_not() -> None:
    x = normal(1, 1, 2, 2)
    h = torch.stack([torch.zeros_like(x), torch.full_like(x, -110.0)], dim=2).flatten(1, 2)
    assert torch.isfinite(Affine()(x, h)[1]).all()


def test_logit_in_grey_levels() -> None:
    x = torch.linspace(0, 1, 4096).reshape(1, 1, 64, 64)
    assert 255 * error(Logit(0.05), x) <= 5e-5
