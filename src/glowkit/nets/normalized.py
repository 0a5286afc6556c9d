"""Weight-normalised convolutions, and those whose output is standardised on the first batch."""

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glowkit.core.initialization import channel_statistics


class UnitConv2d(nn.Module):
    """Convolution whose filters have length one: y = (V / ‖V‖) * x, the norm per output channel.

    No bias: a batch norm follows. Shapes: (N, C_in, H, W) to (N, C_out, H, W), zero padding.
    V ~ U(±√(2 / C_in)). Source: Salimans & Kingma 2016; tensorflow/models real_nvp, `conv_layer`
    with `weight_norm` and without `scale`.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel))
        bound = math.sqrt(2 / in_channels)
        nn.init.uniform_(self.direction, -bound, bound)

    def weight(self) -> Tensor:
        """The filters, (C_out, C_in, kernel, kernel)."""
        return F.normalize(self.direction.flatten(1), dim=1).view_as(self.direction)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(), padding=self.direction.shape[-1] // 2)

    def extra_repr(self) -> str:
        return "{1} -> {0}, {2}x{3}".format(*self.direction.shape)


class NormedConv2d(UnitConv2d):
    """Convolution with learned length and bias: y = g · (V / ‖V‖) * x + b.

    g starts at √(2 / C_in) · √(C_in · kernel² / 12), as in the reference; b at zero.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(in_channels, out_channels, kernel)
        self.magnitude = nn.Parameter(torch.full((out_channels,), kernel / math.sqrt(6)))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def weight(self) -> Tensor:
        return self.magnitude[:, None, None, None] * super().weight()

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(), self.bias, padding=self.direction.shape[-1] // 2)


class StandardizedConv2d(nn.Conv2d):
    """Convolution that `glowkit.initialize` scales: mean 0 and deviation c in every output channel.

    W ~ N(0, 0.05²) and b = 0 at first; with y = W * x on the first batch, W becomes W · c / std(y)
    and b becomes −mean(y) · c / std(y), the deviation floored at 1e-4. Zero padding; a kernel of 1
    is the same linear map at every pixel. Shapes: (N, C_in, H, W) to (N, C_out, H, W). Source:
    Salimans & Kingma 2016, section 3; aravindsrinivas/flowpp, `conv2d`, `dense` and `nin`.

    Args:
        deviation: c, the deviation of the output after initialisation.
    """

    initialized: Tensor
    bias: nn.Parameter

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, deviation: float = 1.0
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2)
        _start(self.weight)
        nn.init.zeros_(self.bias)
        self.deviation = deviation
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize_from(self, x: Tensor, *_: Tensor) -> None:
        factor = _standardize_bias(self, x)
        self.weight.mul_(factor[:, None, None, None])
        self.initialized.fill_(True)


class StandardizedNormedConv2d(NormedConv2d):
    """`StandardizedConv2d` with normalised weights: y = g · (V / ‖V‖) * x + b; g takes the scale.

    V ~ N(0, 0.05²), the norm per output channel. Source: aravindsrinivas/flowpp, ImageNet-32.
    """

    initialized: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, deviation: float = 1.0
    ) -> None:
        super().__init__(in_channels, out_channels, kernel)
        _start(self.direction)
        self.deviation = deviation
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize_from(self, x: Tensor, *_: Tensor) -> None:
        self.magnitude.mul_(_standardize_bias(self, x))
        self.initialized.fill_(True)


class ConvMaker(Protocol):
    """What a gated network makes its convolutions with: either of the classes above."""

    def __call__(
        self, in_channels: int, out_channels: int, kernel: int, deviation: float = 1.0
    ) -> nn.Module: ...


def _start(weight: Tensor) -> None:
    if not weight.is_meta:  # where there is nothing to draw, drawing would still take time
        nn.init.normal_(weight, std=0.05)


def _standardize_bias(conv: StandardizedConv2d | StandardizedNormedConv2d, x: Tensor) -> Tensor:
    """Set the bias for weights that are multiplied by the factors returned, one a channel."""
    conv.bias.zero_()
    mean, std = channel_statistics(conv.forward(x))
    factor = conv.deviation / std
    conv.bias.copy_(-mean * factor)
    return factor
