"""Glow's convolutions: edge-bias borders and log-scale factors."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glowkit.nets.kernel import transformed
from glowkit.nets.scaled import LOG_SCALE_FACTOR, Scaled
from glowkit.nets.statistics import SeesData, channel_statistics


class ScaledConv2d(nn.Module):
    """Convolution with a bias and a per-channel log-scale: y = (W * x + b) · exp(3 · logs).

    3x3 kernels pad with zeros and add one input channel that is 1 on the padding ring and 0 inside
    ("edge bias"), so that the network knows where the border is; 1x1 kernels have no border.
    The scale and bias are folded into the convolution: one pass over the activations (`Scaled`).
    Shapes: (N, C_in, H, W) to (N, C_out, H, W). Source: openai/glow `tfops.py`, `conv2d`,
    `conv2d_zeros`, `add_edge_padding`.
    """

    edge: nn.Parameter | None

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        if kernel not in (1, 3):
            raise ValueError(f"kernel must be 1 or 3, not {kernel}")
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, kernel, kernel))
        self.edge = nn.Parameter(torch.zeros(out_channels, 3, 3)) if kernel == 3 else None
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.logs = nn.Parameter(torch.zeros(out_channels))

    def parameters_here(self) -> Scaled:
        """The parameters of this layer, in the order that `ThreeConvolutions` takes them."""
        return Scaled(self.weight, self.edge, self.bias, self.logs)

    def forward(self, x: Tensor) -> Tensor:
        layer = self.parameters_here()
        if transformed():
            return layer.plain(x, x.dtype)
        scale = layer.scale()
        shift = layer.shift(scale, *x.shape[2:])
        return layer.convolve(layer.read(x, x.dtype), layer.scaled_weight(scale), shift)


class ActnormConv2d(SeesData, ScaledConv2d):
    """Convolution followed by an activation normalisation, as in Glow's conditioner.

    Weights start as N(0, 0.05²); bias and scale are set by `glowkit.initialize` so that every
    output channel has mean 0 and variance 1 on the first batch.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(in_channels, out_channels, kernel)
        nn.init.normal_(self.weight, std=0.05)
        if self.edge is not None:
            nn.init.normal_(self.edge, std=0.05)
        self.register_buffer("initialized", torch.tensor(False))

    def initialize_from(self, x: Tensor, *_: Tensor) -> None:
        self.bias.zero_()
        self.logs.zero_()
        mean, std = channel_statistics(ScaledConv2d.forward(self, x))
        self.bias.copy_(-mean)
        self.logs.copy_(-std.log() / LOG_SCALE_FACTOR)
        self.initialized.fill_(True)


class ZeroConv2d(ScaledConv2d):
    """Convolution that starts as zero: a fresh coupling or prior is known in closed form."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3) -> None:
        super().__init__(in_channels, out_channels, kernel)


class ZeroLinear(nn.Module):
    """Linear map that starts as zero, with bias and log-scale: y = (W x + b) · exp(3 · logs).

    Shapes: (N, features_in) to (N, features_out). Source: openai/glow `tfops.linear_zeros`.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.logs = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias) * torch.exp(LOG_SCALE_FACTOR * self.logs)
