"""Surjections: against densities that are known, the choices themselves, refusals, training."""

import itertools
import math

import pytest
import torch
from torch import nn

import glowkit
from glowkit import GlowkitError
from glowkit.bijections import Gaps, Inverse, On, Softplus, reverse
from glowkit.core import Chain
from glowkit.densities import (
    Absolute,
    Dequantize,
    HalfNormal,
    MaxPool,
    Sorted,
    Split,
    StandardNormal,
    Then,
    Uniform,
)
from glowkit.densities.surjections import _from_lehmer, _lehmer
from glowkit.models import PointsConfig
from glowkit.tasks.coding import Codec


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_folded_normal_is_the_normal_and_signs_are_even() -> None:
    model, normal = Absolute((3,), HalfNormal((3,))), StandardNormal((3,))
    x = torch.randn(500, 3, generator=seeded())
    noises, log_p = model.encode(x, generator=seeded())
    assert torch.allclose(log_p, normal.log_prob(x), atol=1e-5)
    back, log_p_back = model.decode(noises)
    assert torch.allclose(back, x, atol=1e-5)
    assert torch.allclose(log_p_back, log_p, atol=1e-5)
    drawn = model.sample(4000, generator=seeded(1))
    assert abs((drawn > 0).float().mean() - 0.5) < 4.5 * 0.5 / math.sqrt(drawn.numel())
    assert torch.equal(model.sample(5, temperature=0.0).abs(), model.sample(5, 0.0).abs())


class Lean(nn.Module):
    """P(x > 0 | z) = σ(3 z)."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return 3 * z


def test_signs_lean_as_their_network_says() -> None:
    model = Absolute((1,), HalfNormal((1,)), Lean())
    x = torch.tensor([[1.0], [-1.0]])
    difference = model.log_prob(x)[0] - model.log_prob(x)[1]
    assert abs(difference - 3) < 0.01  # but for the floor of choices
    drawn = model.sample(20_000, generator=seeded())[:, 0]
    near = drawn[(drawn.abs() > 0.9) & (drawn.abs() < 1.1)]
    assert abs((near > 0).float().mean() - torch.sigmoid(torch.tensor(3.0))) < 0.02


def test_half_normal_is_white_and_exact_in_both_tails() -> None:
    prior = HalfNormal((1,)).double()
    x = torch.tensor([1e-12, 1e-3, 0.6744, 0.6746, 3, 12, 30], dtype=torch.float64)[:, None]
    (eps,), log_p = prior.encode(x)
    assert ((prior.decode([eps])[0] - x) / x).abs().max() < 1e-11
    assert torch.allclose(log_p, 0.5 * math.log(2 / math.pi) - 0.5 * x[:, 0] ** 2)
    (noise,), _ = prior.encode(torch.randn(20_000, 1, generator=seeded()).double().abs())
    assert abs(noise.mean()) < 4.5 / math.sqrt(20_000)
    assert abs(noise.var() - 1) < 4.5 * math.sqrt(2 / 20_000)
    assert prior.log_prob(torch.tensor([[-1.0]], dtype=torch.float64)).item() == -math.inf


def test_lehmer_codes_count_every_order_once() -> None:
    orders = torch.tensor(list(itertools.permutations(range(4))))
    codes = _lehmer(orders)
    assert len({tuple(code.tolist()) for code in codes}) == math.factorial(4)
    assert (codes < torch.tensor([4, 3, 2])).all()
    assert torch.equal(_from_lehmer(codes), orders)


def test_sorting_says_the_density_of_a_set() -> None:
    """Of independent uniform numbers the sorted ones have the density n!, and x has 1."""
    gaps = Sorted(3, Then(Chain([]), Ordered()))
    x = torch.rand(50, 3, generator=seeded())
    assert torch.allclose(gaps.log_prob(x), torch.zeros(50), atol=1e-6)
    for order in itertools.permutations(range(3)):
        assert torch.equal(gaps.log_prob(x[:, list(order)]), gaps.log_prob(x))
    ranks = Sorted(3, StandardNormal((3,))).sample(6000, generator=seeded(2)).argsort(1)
    counts = torch.stack(
        [(ranks == torch.tensor(p)).all(1).sum() for p in itertools.permutations(range(3))]
    )
    assert (counts - 1000).abs().max() < 4.5 * math.sqrt(1000)


class Ordered(StandardNormal):
    """Three uniform numbers in order: 3! wherever they are."""

    def __init__(self) -> None:
        super().__init__((3,))

    def _log_p(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x[:, 0], math.log(6))


def test_one_member_has_no_order() -> None:
    model = Sorted(1, StandardNormal((1,)))
    x = torch.randn(4, 1)
    noises, log_p = model.encode(x)
    assert noises[0].shape == (4, 0)
    assert torch.equal(model.decode(noises)[0], x)
    assert torch.equal(log_p, StandardNormal((1,)).log_prob(x))


def test_max_pooling_of_independent_normals_is_normal() -> None:
    """The largest of four and how much less the others are, with their true density."""

    class Largest(StandardNormal):
        def _log_p(self, z: torch.Tensor) -> torch.Tensor:
            each = math.log(4) - 0.5 * z**2 + 3 * torch.special.log_ndtr(z)
            return (each - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)

    class Others(StandardNormal):
        """Each N(0, 1) given that it is less than z."""

        def encode(self, x, context=None, generator=None):  # type: ignore[no-untyped-def]
            z = context[:, :1]
            each = -0.5 * (z - x) ** 2 - 0.5 * math.log(2 * math.pi) - torch.special.log_ndtr(z)
            return [x], each.flatten(1).sum(1)

    model = MaxPool((1, 2, 4), Largest((1, 1, 2)), Others((3, 1, 2)))
    x = torch.randn(200, 1, 2, 4, generator=seeded())
    noises, log_p = model.encode(x, generator=seeded())
    assert torch.allclose(log_p, StandardNormal((1, 2, 4)).log_prob(x), atol=1e-4)
    assert noises[1].min() > 0
    assert torch.allclose(model.decode(noises)[0], x, atol=1e-6)


def test_a_pooled_model_of_images_trains_and_comes_back() -> None:
    positive = Then(Inverse(Softplus()), StandardNormal((3, 2, 2)))
    pooled = MaxPool((1, 4, 4), StandardNormal((1, 2, 2)), positive)
    model = Dequantize(Uniform((1, 4, 4)), pooled, levels=8)
    images = torch.randint(0, 8, (20, 1, 4, 4), dtype=torch.uint8)
    noises, log_p = model.encode(images, generator=seeded())
    assert torch.equal(model.decode(noises)[0], images)
    assert log_p.isfinite().all()
    with pytest.raises(GlowkitError, match="MaxPool has no exact form on integers"):
        Codec.compile(model)


def test_sides_that_do_not_halve_are_refused() -> None:
    with pytest.raises(GlowkitError, match="2x2 pixels do not fit an image of 3x4"):
        MaxPool((1, 3, 4), StandardNormal((1, 1, 2)), HalfNormal((3, 1, 2)))


def test_a_set_too_large_for_one_noise_a_choice_is_refused() -> None:
    model = Sorted(257, StandardNormal((257,)))
    with pytest.raises(GlowkitError, match="at most 256"):
        model.log_prob(torch.randn(2, 257))


def test_symmetric_points_get_a_symmetric_density() -> None:
    torch.manual_seed(0)
    model = glowkit.build(PointsConfig(steps=2, width=8, bins=4, preprocessing="absolute"))
    x = torch.randn(64, 2)
    glowkit.initialize(model, x)
    log_p = model.log_prob(x)
    for signs in ([-1, 1], [1, -1], [-1, -1]):
        assert torch.equal(model.log_prob(x * torch.tensor(signs)), log_p)
    assert (model.decode(model.encode(x)[0])[0] - x).abs().max() < 1e-4
    assert model.log_p_kind == "exact"


def test_a_flow_of_numbers_in_order_gives_nothing_to_others() -> None:
    positive = On(2, Inverse(Softplus()))
    flow = Chain([Gaps(), reverse(3), positive])
    model = Sorted(3, Then(flow, StandardNormal((3,))))
    drawn = model.deeper.sample(200, generator=seeded())
    assert (drawn.diff(dim=1) > 0).all()
    assert Split(1, StandardNormal((2,)), StandardNormal((1,))).log_p_kind == model.log_p_kind
