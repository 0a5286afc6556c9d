"""Weight-normalised convolutions."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
