"""Continuous flows: the order of the method, fields solved in closed form, and flow matching."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import glowkit
from glowkit.bijections import ExactDivergence, Integrate, refined
from glowkit.bijections.continuous import TIME_FEATURES
from glowkit.densities import matching_loss
from glowkit.models.continuous import ContinuousConfig
from glowkit.nets import LinearizedNet, velocity_mlp
from glowkit.nets.linearized import TangentLinear
from glowkit.system.errors import GlowkitError


def field(steps: int) -> Integrate:
    torch.manual_seed(0)
    net = velocity_mlp(2, 16, 2, TIME_FEATURES).double()
    nn.init.normal_(net.layers[-1].weight, std=0.5)
    return Integrate(net, steps, ExactDivergence())


def points(n: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 2, dtype=torch.float64, generator=generator)


@torch.no_grad()
def test_halving_the_step_divides_the_error_by_16() -> None:
    x = points()
    truth, truth_ladj = field(160)(x)
    errors = []
    for steps in (10, 20, 40):
        y, ladj = field(steps)(x)
        errors.append(((y - truth).abs().max().item(), (ladj - truth_ladj).abs().max().item()))
    for coarse, fine in pairwise(errors):
        for a, b in zip(coarse, fine, strict=True):
            assert 10 < a / b < 26


@torch.no_grad()
def test_a_field_of_order_one_is_inverted_to_1e_minus_6_in_40_steps() -> None:
    flow, x = field(40), points()
    y, ladj = flow(x)
    back, ladj_back = flow.inverse(y)
    assert (y - x).abs().max() > 0.1
    assert (back - x).abs().max() < 1e-6
    assert (ladj + ladj_back).abs().max() < 1e-6


@torch.no_grad()
def test_a_linear_field_is_a_matrix_exponential() -> None:
    layer = TangentLinear(2, 2, bias=False).double()
    matrix = torch.tensor([[0.3, -1.0], [1.0, 0.1]], dtype=torch.float64)
    layer.weight.copy_(matrix)
    net = LinearizedNet([layer], nn.Linear(TIME_FEATURES, 2, bias=False).double())
    nn.init.zeros_(net.context.weight)
    y, ladj = Integrate(net, 40, ExactDivergence())(points())
    assert (y - points() @ torch.matrix_exp(-matrix).T).abs().max() < 1e-7
    assert (ladj + matrix.trace()).abs().max() < 1e-12


def test_steps_are_doubled_within_a_block_alone() -> None:
    flow = field(3)
    with refined(nn.Sequential(flow)) as integrates:
        assert (integrates, flow.steps) == (True, 6)
    assert flow.steps == 3
    with refined(nn.Identity()) as integrates:
        assert not integrates


def test_the_path_ends_where_the_inverse_does() -> None:
    flow, noise = field(5), points()
    path = flow.path(noise)
    assert path.shape == (6, 8, 2)
    assert torch.equal(path[-1], flow.inverse(noise)[0])


def test_matching_is_least_at_the_conditional_mean() -> None:
    """From N(0, 1) to N(0, s²): E[z − ε | z_t] = (s² t − (1 − t)) / (s² t² + (1 − t)²) · z_t."""
    s = 2.0
    model = glowkit.build(ContinuousConfig(dimensions=1, training="matching")).double()
    glowkit.initialize(model, torch.tensor([[-1.0], [1.0]], dtype=torch.float64))
    x = s * torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flow = model.bijection.bijections[1]

    def loss(factor: float) -> float:
        def velocity(z: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
            t = t[:, None]
            best = (s * s * t - (1 - t)) / (s * s * t * t + (1 - t) ** 2)
            return factor * best * z

        flow.velocity = velocity
        generator = torch.Generator().manual_seed(1)
        return matching_loss(model, x, None, generator).mean().item()

    assert loss(1.0) < min(loss(0.85), loss(1.15))
    # ∫ Var[z − ε | z_t] dt = ∫ s² / (s² t² + (1 − t)²) dt = s π / 2
    assert loss(1.0) == pytest.approx(s * math.pi / 2, rel=0.03)


def test_matching_trains_the_field_alone_and_is_found_behind_a_context() -> None:
    config = ContinuousConfig(2, 8, 1, 4, context_features=1, preprocessing="standardize")
    model = glowkit.build(config)
    x, context = torch.randn(16, 2), torch.randn(16, 1)
    glowkit.initialize(model, x, context)
    first = torch.Generator().manual_seed(0)
    loss = matching_loss(model, x, context, first)
    assert loss.shape == (16,)
    again = matching_loss(model, x, context, torch.Generator().manual_seed(0))
    assert torch.equal(loss, again)
    loss.mean().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    likelihood = glowkit.build(ContinuousConfig(training="likelihood"))
    assert matching_loss(likelihood, x) is None


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(GlowkitError, match="training 'score' does not exist"):
        ContinuousConfig(training="score")
    with pytest.raises(GlowkitError, match="steps is 0"):
        ContinuousConfig(steps=0)
    with pytest.raises(GlowkitError, match="not conditional"):
        ContinuousConfig(classes=3)
