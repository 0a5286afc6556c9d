"""Residual flows: the inverse, its gradients, and log-determinants, at every Lipschitz constant."""

import math

import pytest
import torch
from torch import Tensor, nn

import glowkit
from glowkit.bijections import ExactLogDet, PowerSeries, Residual
from glowkit.densities import RussianRoulette
from glowkit.models.residual import ResidualConfig
from glowkit.nets import LinearizedNet, lipschitz_mlp
from glowkit.nets.linearized import TangentLinear
from glowkit.system.errors import GlowkitError

CONSTANTS = [0.5, 0.9, 0.97]
SIZE = 6


def block(constant: float, log_det=ExactLogDet()) -> Residual:  # noqa: B008
    """Of weights that are scaled down to the bound, so that it is nearly reached."""
    torch.manual_seed(0)
    net = lipschitz_mlp(SIZE, 32, 1, constant).double()
    with torch.no_grad():
        for layer in (net.layers[0], net.layers[2]):
            nn.init.normal_(layer.weight, std=3.0)
    return Residual(net, log_det)


def points(n: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, SIZE, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("constant", CONSTANTS)
@torch.no_grad()
def test_the_inverse_is_one_to_rounding(constant: float) -> None:
    layer, x = block(constant), points(64)
    y, ladj = layer(x)
    back, ladj_back = layer.inverse(y)
    assert (back - x).abs().max() < 1e-12
    assert (ladj + ladj_back).abs().max() < 1e-11


def test_gradients_of_the_inverse_are_those_of_unrolled_iterations() -> None:
    layer, y = block(0.9), points().requires_grad_()
    wanted = [y, *layer.parameters()]

    def gradients(x: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(x.sin().sum(), wanted)

    x = y
    for _ in range(300):
        x = y - layer.net(x)
    for implicit, unrolled in zip(gradients(layer.inverse(y)[0]), gradients(x), strict=True):
        assert (implicit - unrolled).abs().max() < 1e-10


@pytest.mark.parametrize("constant", CONSTANTS)
@torch.no_grad()
def test_a_series_is_off_by_no_more_than_it_says(constant: float) -> None:
    layer, x = block(constant), points()
    exact = layer(x)[1]
    for terms in (1, 2, 5, 10):
        off = (layer.forward_by(PowerSeries(terms), x)[1] - exact).abs().max().item()
        kept = sum(constant**k / k for k in range(1, terms + 1))
        assert off <= -SIZE * (math.log(1 - constant) + kept) + 1e-12


def test_a_net_that_does_not_contract_is_named() -> None:
    net = LinearizedNet([TangentLinear(2, 2)])
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
    layer = Residual(net, ExactLogDet())
    with pytest.raises(GlowkitError, match="does not contract"):
        layer.inverse(torch.ones(1, 2))


@pytest.mark.parametrize("constant", [0.0, 1.0, -0.5])
def test_a_constant_that_is_none_of_a_contraction_is_refused(constant: float) -> None:
    with pytest.raises(GlowkitError, match="lipschitz is"):
        ResidualConfig(lipschitz=constant)


@pytest.mark.parametrize("double", [False, True])
@torch.no_grad()
def test_a_constant_near_one_is_inverted_by_more_steps(double: bool) -> None:
    """A linear map by almost 0.99, which 1,000 steps do not undo."""
    model = glowkit.build(ResidualConfig(blocks=1, depth=0, lipschitz=0.99))
    (layer,) = (module for module in model.modules() if isinstance(module, Residual))
    layer.net.layers[0].weight.copy_(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
    model, x = (model.double(), points()[:, :2]) if double else (model, points()[:, :2].float())
    glowkit.initialize(model, x)
    again, _ = model.decode(model.encode(x)[0])
    assert torch.allclose(again, x, atol=1e-11 if double else 1e-3)
    layer.bound = None
    with pytest.raises(GlowkitError, match="in 1000 steps: its network does not contract, or too"):
        model.decode(model.encode(x)[0])


@pytest.mark.parametrize("bound", [0.0, 1.0, 1.5])
def test_a_bound_that_is_none_of_a_contraction_is_refused(bound: float) -> None:
    with pytest.raises(GlowkitError, match="block's bound is"):
        Residual(block(0.5).net, ExactLogDet(), bound)


def test_a_preprocessing_of_other_families_is_refused() -> None:
    with pytest.raises(GlowkitError, match="absolute"):
        ResidualConfig(preprocessing="absolute")


@pytest.mark.parametrize("p", [0.0, 1.0, -0.5, float("nan")])
def test_a_roulette_that_never_or_always_stops_is_refused(p: float) -> None:
    with pytest.raises(GlowkitError, match="the probability to stop"):
        RussianRoulette(p=p)
    with pytest.raises(GlowkitError, match="give 0 or more"):
        RussianRoulette(exact_terms=-1)


def test_points_are_exact_and_a_context_moves_them() -> None:
    model = glowkit.build(ResidualConfig(2, blocks=2, width=8, depth=1, context_features=1))
    assert model.log_p_kind == "exact"
    x, context = torch.randn(8, 2), torch.linspace(-1, 1, 8)[:, None]
    glowkit.initialize(model, x, context)
    assert not torch.equal(model.log_prob(x, context), model.log_prob(x, -context))


@pytest.mark.parametrize("constant", CONSTANTS)
def test_the_mean_of_the_neumann_gradient_is_the_exact_gradient(constant: float) -> None:
    """And the mean of the estimate is the log-determinant: of 6 numbers, within 4 σ."""
    layer, x = block(constant), points(1)
    wanted = [layer.net.layers[2].weight, layer.net.layers[1].sharpness]
    _, exact = layer(x)
    expected = [exact.detach(), *(g.sum()[None] for g in torch.autograd.grad(exact.sum(), wanted))]
    generator, batches, size = torch.Generator().manual_seed(0), 250, 16
    many, draws = x.expand(size, -1), []
    for _ in range(batches):
        _, ladj = layer.forward_by(RussianRoulette().drawn(many, generator), many)
        gradients = torch.autograd.grad(ladj.mean(), wanted)
        draws.append(torch.cat([ladj.mean()[None].detach(), *(g.sum()[None] for g in gradients)]))
    found = torch.stack(draws)
    sigma = found.std(0) / math.sqrt(batches)
    assert ((found.mean(0) - torch.cat(expected)).abs() < 4 * sigma).all()
    assert (sigma < 0.05).all()
