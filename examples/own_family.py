"""A coupling and a family of your own.

glowkit train digits --model examples/own_family.py --set steps=4 --epochs 20 --out runs/mine
glowkit sample runs/mine --model examples/own_family.py
"""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

import glowkit
from glowkit.bijections import Actnorm, Coupling, Reshape, Transformer, reverse
from glowkit.densities import Dequantize, StandardNormal, Then, Uniform
from glowkit.nets import MLP


class SinhArcsinh(Transformer):
    """y = sinh(d · arsinh(x) + e), d = exp(tanh r): e skews, d makes tails. Jones, Pewsey 2009."""

    parameters_per_channel = 2

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        e, r = self.unpack(x, h)
        z = r.tanh().exp() * x.asinh() + e
        log_cosh = z.abs() + F.softplus(-2 * z.abs()) - math.log(2)
        return z.sinh(), (r.tanh() + log_cosh - 0.5 * x.square().log1p()).flatten(1).sum(1)

    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        e, r = self.unpack(y, h)
        x = ((y.asinh() - e) * (-r.tanh()).exp()).sinh()
        return x, -self.forward(x, h)[1]


@dataclass(frozen=True)
class SinhConfig:
    """Settings of the family; image_shape and pixel_levels follow the data."""

    image_shape: tuple[int, ...]
    pixel_levels: int = 256
    steps: int = 8
    width: int = 128


@glowkit.family("sinh", SinhConfig)
def build_sinh(config: SinhConfig) -> Dequantize:
    """Flat images; each step rescales, transforms one half given the other, and turns around."""
    size, half = math.prod(config.image_shape), math.prod(config.image_shape) // 2
    layers: list[glowkit.Bijection] = [Reshape(config.image_shape, (size,))]
    for _ in range(config.steps):
        net = MLP(half, 2 * (size - half), config.width, depth=2)
        layers += [Actnorm(size), Coupling(half, net, SinhArcsinh()), reverse(size)]
    flow = Then(glowkit.Chain(layers), StandardNormal((size,)), config.image_shape)
    return Dequantize(Uniform(config.image_shape), flow, config.pixel_levels)
