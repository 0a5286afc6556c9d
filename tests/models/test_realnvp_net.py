"""RealNVP's conditioner against its specification, written out plainly."""

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.bijections import checkerboard
from glowkit.models import PRESETS, count_parameters
from glowkit.nets import MaskedSignPairs, NormedConv2d, ResidualNet, UnitConv2d


def norm(x: Tensor, shift: Tensor) -> Tensor:
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = (x - mean).square().mean((0, 2, 3), keepdim=True)
    return (x - mean) / (variance + 1e-4).sqrt() + shift.view(1, -1, 1, 1)


def conv(x: Tensor, layer: UnitConv2d) -> Tensor:
    v = layer.direction
    weight = v / v.square().sum((1, 2, 3), keepdim=True).sqrt()
    y = F.conv2d(x, weight, padding=v.shape[-1] // 2)
    if not isinstance(layer, NormedConv2d):
        return y
    return y * layer.magnitude.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1)


def test_the_network_is_the_references() -> None:
    torch.manual_seed(0)
    mask = checkerboard(4, 6, 1)
    net = ResidualNet(MaskedSignPairs(2, mask), 4, width=5, blocks=2).double().train()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(3, 2, 4, 6, dtype=torch.float64) * mask
    r = 2 * norm(x, net.entry.norm.shift)
    h = torch.cat([r, -r, mask.double().expand(3, 1, 4, 6)], dim=1)
    h = conv(h.relu(), net.first)
    total = conv(h, net.skips[0])
    for i, block in enumerate(net.blocks):
        inner = conv(norm(h, block.first_norm.shift).relu(), block.first)
        h = h + conv(norm(inner, block.second_norm.shift).relu(), block.second)
        total = total + conv(h, net.skips[i + 1])
    expected = conv(norm(total, net.norm.shift).relu(), net.last)
    assert torch.allclose(net(x), expected, atol=1e-12)


def parameters(entry: int, features: int, out: int, width: int, blocks: int) -> int:
    """Of one coupling: its network, and the gain of its scale."""
    block = width + 9 * width**2 + width + 9 * width**2 + 2 * width
    skips = (blocks + 1) * (width**2 + 2 * width)
    return entry + 9 * features * width + blocks * block + skips + width + width * out + 2 * out + 1


def test_the_parameter_count_is_that_of_the_description() -> None:
    """No total is published; this is the sum over section 2.1 of the specification."""
    config = PRESETS["realnvp-cifar10"]
    assert (config.blocks, config.width, config.levels) == (8, 64, 2)
    boards = 3 * parameters(3, 7, 6, 64, 8) + 4 * parameters(6, 13, 12, 128, 8)
    channels = 3 * parameters(6, 12, 12, 128, 8)
    assert count_parameters(config) == boards + channels
