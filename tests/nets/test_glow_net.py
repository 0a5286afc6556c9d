"""Glow's conditioner is the network that its formula describes."""

import pytest
import torch
from torch.nn import functional as F

from glowkit.nets import GlowNet, ScaledConv2d
from glowkit.nets.glow import NARROWEST, narrow
from glowkit.nets.kernels.library import SWITCH


def net_and_inputs(last_kernel: int, features: int) -> tuple[GlowNet, list[torch.Tensor]]:
    torch.manual_seed(0)
    net = GlowNet(2, 6, 16, features, last_kernel=last_kernel).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    net.first.initialized.fill_(True)
    net.second.initialized.fill_(True)
    inputs = [torch.randn(3, 2, 9, 10)]
    if features:
        inputs.append(torch.randn(3, features))
    return net, [tensor.double().requires_grad_() for tensor in inputs]


def by_definition(layer: ScaledConv2d, x: torch.Tensor) -> torch.Tensor:
    """With a channel that is 1 on the padding ring, as the reference has it."""
    weight, padding = layer.weight, 0
    if layer.edge is not None:
        ring = F.pad(x.new_zeros(len(x), 1, *x.shape[2:]), (1, 1, 1, 1), value=1.0)
        x = torch.cat([F.pad(x, (1, 1, 1, 1)), ring], 1)
        weight = torch.cat([weight, layer.edge[:, None]], 1)
    y = F.conv2d(x, weight, layer.bias, padding=padding)
    return y * torch.exp(3 * layer.logs)[:, None, None]


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize(("inputs", "outputs"), [(2, 5), (5, 2), (3, 3)])
def test_a_convolution_with_its_border(kernel: int, inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    layer = ScaledConv2d(inputs, outputs, kernel).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(2, inputs, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(x), by_definition(layer, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("features", [0, 5])
@pytest.mark.parametrize("last_kernel", [1, 3])
def test_outputs_and_gradients_are_those_of_the_layers(last_kernel: int, features: int) -> None:
    net, inputs = net_and_inputs(last_kernel, features)
    wanted = [*inputs, *net.parameters()]
    h = by_definition(net.first, inputs[0])
    if net.context is not None:
        h = h + net.context(inputs[1][:, :, None, None])
    h = by_definition(net.second, F.relu(h))
    expected = by_definition(net.last, F.relu(h))
    found = net(*inputs)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(found)
    gradients = torch.autograd.grad(found, wanted, weights)
    others = torch.autograd.grad(expected, wanted, weights)
    for mine, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def low_and_high(width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A network's output in bfloat16 and in float32."""
    torch.manual_seed(0)
    net = GlowNet(2, 6, width, precision="bfloat16")
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    net.first.initialized.fill_(True)
    net.second.initialized.fill_(True)
    x = torch.randn(4, 2, 8, 8)
    low = net(x)
    net.dtype = torch.float32
    high = net(x)
    assert low.dtype == high.dtype == torch.float32
    return low, high


@pytest.mark.parametrize("width", [64, narrow() + 1])
def test_bfloat16_stays_inside(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if width <= narrow():
        monkeypatch.setenv(SWITCH, "0")
    low, high = low_and_high(width)
    error = (low - high).norm() / high.norm()
    assert 1e-5 < error < 0.02


def test_a_narrow_network_in_bfloat16_takes_the_kernels_of_float32(kernels: None) -> None:
    assert torch.equal(*low_and_high(NARROWEST))


def test_an_outer_autocast_changes_nothing() -> None:
    net, inputs = net_and_inputs(3, 0)
    alone = net(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        inside = net(*inputs)
    assert torch.equal(alone, inside)
    inside.sum().backward()


def test_no_images() -> None:
    net, _ = net_and_inputs(3, 0)
    assert net(torch.randn(0, 2, 4, 4).double()).shape == (0, 6, 4, 4)
