"""The logistic mixture against its definition, far out, and where it is nearly flat."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from glowkit.bijections import LogisticMixture
from glowkit.nets.kernels.library import SWITCH


def parameters(components: int, log_scale: float, spread: float, seed: int = 0) -> Tensor:
    """Random parameters (32, 2 · P, 8, 8); log-scales are N(log_scale, spread²)."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(32, 2, 2 + 3 * components, 8, 8, generator=generator)
    scales = h[:, :, 2 + 2 * components :]
    scales.mul_(spread).add_(log_scale)
    return h.flatten(1, 2)


@pytest.mark.parametrize("components", [1, 4, 8, 32])
@pytest.mark.parametrize("far", [2.0, 4.0, 8.0, 16.0])
def test_float32_round_trip_far_out(components: int, far: float, single: torch.dtype) -> None:
    mixture, h = LogisticMixture(components), parameters(components, -1, 0.5)
    x = far * torch.linspace(-1, 1, 64 * 64).reshape(32, 2, 8, 8)
    x[0] = far * torch.tensor([-1.0, 1.0])[:, None, None]
    y, ladj = mixture(x, h)
    back, inverse_ladj = mixture.inverse(y, h)
    # In the middle of few components F can be flat; the specification's figures are for the tails.
    error = (back - x).abs()
    assert error[0].max() <= 1e-5
    assert error.max() <= 1e-4
    assert (ladj + inverse_ladj).abs().max() <= 1e-3


def test_the_definition() -> None:
    mixture, h = LogisticMixture(3), parameters(3, 0, 0.3).double()
    x = torch.randn(32, 2, 8, 8, dtype=torch.float64).requires_grad_()
    s, t, *rest = h.reshape(32, 2, 11, 8, 8).unbind(2)
    logits, means, log_scales = (torch.stack(rest[i : i + 3], 2) for i in (0, 3, 6))
    z = (x.unsqueeze(2) - means) / log_scales.exp()
    below = (logits.softmax(2) * z.sigmoid()).sum(2)
    expected = torch.logit(below) * s.tanh().exp() + t
    y, ladj = mixture(x, h)
    assert torch.allclose(y, expected, atol=1e-11)
    (slope,) = torch.autograd.grad(expected.sum(), x)
    assert torch.allclose(ladj, slope.log().flatten(1).sum(1), atol=1e-9)


@pytest.mark.parametrize("log_scale", [0.0, -9.0])
def test_gradients_of_both_directions(log_scale: float) -> None:
    """With log-scales of −9 the floor of −7 holds, and their gradient is zero."""
    mixture, h = LogisticMixture(2), parameters(2, log_scale, 0.3)[:2, :, :2, :1].double()
    x = torch.randn(2, 2, 2, 1, dtype=torch.float64)
    if log_scale < -7:  # where the map is not flat: near the means
        h[:, [4, 5, 12, 13]] = x.repeat_interleave(2, 1) + 1e-4
    h.requires_grad_()
    assert gradcheck(mixture, (x.requires_grad_(), h), eps=1e-8, atol=1e-3, rtol=1e-3)
    if log_scale == 0:
        y = mixture(x, h)[0].detach().requires_grad_()
        assert gradcheck(mixture.inverse, (y, h))


def test_zeros_are_the_identity_and_a_fresh_map_has_distinct_components(
    single: torch.dtype,
) -> None:
    mixture, x = LogisticMixture(4), torch.linspace(-16, 16, 9).reshape(1, 9)
    y, ladj = mixture(x, torch.zeros(1, 9 * 14))
    assert torch.allclose(y, x, atol=1e-5)
    assert ladj.abs() < 1e-4
    h = mixture.start().repeat(1, 9).requires_grad_()
    mixture(x, h)[0].square().sum().backward()
    assert h.grad is not None
    by_means = h.grad.reshape(9, 14)[0, 6:10]
    assert (by_means.diff().abs() > 1e-6).all()


def test_finite_where_the_map_is_flat(single: torch.dtype) -> None:
    """Two components of the smallest scale, far apart: all results and gradients are finite."""
    mixture = LogisticMixture(2)
    h = torch.tensor([[0.0, 0.0, 0.0, 0.0, -50.0, 50.0, -9.0, -9.0]]).requires_grad_()
    for value in (-1e4, -60.0, -1.0, 0.0, 3.0, 50.0, 1e4):
        x = torch.tensor([[value]], requires_grad=True)
        y, ladj = mixture(x, h)
        back, inverse_ladj = mixture.inverse(y, h)
        results = (y, ladj, back, inverse_ladj)
        grads = torch.autograd.grad(sum(r.sum() for r in results), (x, h))
        assert all(torch.isfinite(r).all() for r in (*results, *grads)), value


def both_directions(x: Tensor, h: Tensor) -> list[Tensor]:
    """Results and gradients of both, the second at x as well."""
    mixture, found = LogisticMixture(5), []
    for function in (mixture, mixture.inverse):
        inputs = x.clone().requires_grad_(), h.clone().requires_grad_()
        made = function(*inputs)
        found += [*made, *torch.autograd.grad(made[0].sin().sum() + made[1].sum(), inputs)]
    return [t.detach() for t in found]


@pytest.mark.parametrize("far", [2.0, 16.0, 100.0, 1e4])
@pytest.mark.parametrize(
    ("log_scale", "spread"), [(-1.0, 0.5), (0.0, 1.0), (-6.0, 2.0), (-9.0, 0.1), (3.0, 1.0)]
)
@pytest.mark.parametrize("sure", [1.0, 20.0], ids=["", "one component"])
def test_kernels_are_as_exact_as_plain_torch_anywhere(
    far: float,
    log_scale: float,
    spread: float,
    sure: float,
    calls: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    h = parameters(5, log_scale, spread)[:2].unflatten(1, (2, 17))
    h[:, :, 2:7] *= sure
    x, h = far * torch.linspace(-1, 1, 256).reshape(2, 2, 8, 8), h.flatten(1, 2)
    found = both_directions(x, h)
    assert {"glow_mixture_backward", "glow_mixture_root"} <= set(calls)
    monkeypatch.setenv(SWITCH, "0")
    plain, exact = both_directions(x, h), both_directions(x.double(), h.double())
    for mine, other, right in zip(found, plain, exact, strict=True):
        finite = right.isfinite()
        assert torch.equal(mine.isfinite() | other.isfinite(), mine.isfinite())
        off = [((t - right).abs() / (1 + right.abs()))[finite] for t in (mine, other)]
        assert off[0].quantile(0.9) <= 4 * off[1].quantile(0.9) + 1e-6
        assert off[0].max() <= 20 * off[1].max() + 2e-6  # it is where F is flat, by chance


def test_components_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LogisticMixture(0)
