"""Glow's conditioner in one node is the same network as layer by layer."""

import pytest
import torch

from glowkit.nets import GlowNet


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


@pytest.mark.parametrize("features", [0, 5])
@pytest.mark.parametrize("last_kernel", [1, 3])
def test_outputs_and_gradients_are_those_of_the_layers(last_kernel: int, features: int) -> None:
    net, inputs = net_and_inputs(last_kernel, features)
    wanted = [*inputs, *net.parameters()]
    fused = net(*inputs)
    apart = net._apart(inputs[0], net._added(inputs[1] if features else None))
    torch.testing.assert_close(fused, apart, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(fused)
    found = torch.autograd.grad(fused, wanted, weights)
    expected = torch.autograd.grad(apart, wanted, weights)
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def test_bfloat16_stays_inside() -> None:
    net = GlowNet(2, 6, 64, precision="bfloat16")
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    net.first.initialized.fill_(True)
    net.second.initialized.fill_(True)
    x = torch.randn(4, 2, 8, 8)
    low = net(x)
    net.dtype = torch.float32
    high = net(x)
    assert low.dtype == high.dtype == torch.float32
    error = (low - high).norm() / high.norm()
    assert 1e-5 < error < 0.02


def test_an_outer_autocast_changes_nothing() -> None:
    net, inputs = net_and_inputs(3, 0)
    alone = net(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        inside = net(*inputs)
    assert torch.equal(alone, inside)
    inside.sum().backward()
