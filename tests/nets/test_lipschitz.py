"""Networks of bounded Lipschitz constant, products with their Jacobians, state that follows."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from glowkit.nets import (
    FollowsWeights,
    LinearizedNet,
    LipSwish,
    SpectralConv2d,
    SpectralLinear,
    following,
    following_moments,
    lipschitz_mlp,
    velocity_mlp,
)


@pytest.mark.parametrize(("size", "out"), [(64, 64), (2, 64), (64, 2), (1, 1)])
def test_the_norm_of_a_layer_is_its_bound_or_less(size: int, out: int) -> None:
    torch.manual_seed(0)
    layer = SpectralLinear(size, out, bound=0.9).double()
    for scale in (0.01, 100.0):
        with torch.no_grad():
            nn.init.normal_(layer.weight).mul_(scale)
            norm = torch.linalg.svdvals(layer.scaled())[0].item()
            before = torch.linalg.svdvals(layer.weight)[0].item()
        assert norm == pytest.approx(min(0.9, before), rel=1e-12)


def test_a_layer_of_zeros_has_a_gradient() -> None:
    layer = SpectralLinear(3, 3, bound=0.9)
    nn.init.zeros_(layer.weight)
    layer(torch.ones(2, 3)).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.eq(2).all()


def test_what_is_not_a_number_is_seen_and_not_refused() -> None:
    layer = SpectralLinear(3, 3, bound=0.9)
    with torch.no_grad():
        layer.weight[0, 0] = float("nan")
        assert layer(torch.ones(1, 3))[0].isnan().tolist() == [True, False, False]


def test_the_slope_of_a_lip_swish_is_at_most_1() -> None:
    layer, x = LipSwish().double(), torch.linspace(-30, 30, 6001, dtype=torch.float64)
    for sharpness in (-3.0, 0.5, 10.0):
        with torch.no_grad():
            layer.sharpness.fill_(sharpness)
        _, product = layer.linearized(x[:, None])
        assert product(torch.ones(6001, 1, 1, dtype=torch.float64)).abs().max() <= 1


@pytest.mark.parametrize("make", [lambda: lipschitz_mlp(3, 8, 2, 0.9, 2), lambda: _velocity()])
def test_products_are_those_of_the_jacobian(make) -> None:
    torch.manual_seed(0)
    net = make().double()
    x, context, v = (
        torch.randn(shape, dtype=torch.float64) for shape in ((4, 3), (4, 2), (4, 5, 3))
    )
    value, product = net.linearized(x, context)
    assert torch.equal(value, net(x, context))
    jac = jacobian(lambda t: net(t, context).sum(0), x).transpose(0, 1)  # (4, out, in)
    assert (product(v) - v @ jac.transpose(1, 2)).abs().max() < 1e-12


@torch.no_grad()
def test_the_norm_of_a_convolution_is_its_bound() -> None:
    """Of the whole operator, padding included, by the matrix that it is."""
    torch.manual_seed(0)
    layer = SpectralConv2d(2, 3, 3, (4, 5), bound=0.8).double().eval()
    nn.init.normal_(layer.weight)
    _, product = layer.linearized(torch.zeros(1, 2, 4, 5, dtype=torch.float64))
    matrix = product(torch.eye(40, dtype=torch.float64).view(1, 40, 2, 4, 5)).flatten(2)[0]
    assert 0.79 < torch.linalg.svdvals(matrix)[0] <= 0.8


def test_the_image_of_a_convolution_moves_inside_following_alone() -> None:
    torch.manual_seed(0)
    layer, x = SpectralConv2d(2, 2, 3, (4, 4), bound=0.8), torch.randn(1, 2, 4, 4)
    before = layer.image.clone()
    layer.train()(x)
    layer.eval()(x)
    with following(layer):
        layer(x)
    assert torch.equal(layer.image, before)
    layer.train()
    with following(layer):
        loss = layer(x).square().sum()
    assert not torch.equal(layer.image, before)
    loss.backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        layer.weight.zero_()
        with following(layer):
            assert torch.equal(layer(x), layer.bias.view(1, 2, 1, 1).expand_as(x))


def _velocity() -> LinearizedNet:
    net = velocity_mlp(3, 8, 2, 2)
    nn.init.normal_(net.layers[-1].weight)
    return net


def test_a_net_without_its_context_says_so() -> None:
    with pytest.raises(ValueError, match="needs a context"):
        lipschitz_mlp(2, 4, 1, 0.9, context_features=1)(torch.zeros(1, 2))


class _Counted(FollowsWeights):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))

    def follow_weights(self) -> None:
        self.steps += 1

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_what_follows_weights_moves_once_a_block_and_in_training_alone() -> None:
    layer = _Counted()
    for training in (True, False):
        layer.train(training)
        with following(nn.Sequential(layer, nn.Identity())):
            layer(layer(torch.ones(1)))
        layer(torch.ones(1))
        assert layer.steps == 1
    assert following_moments is following
