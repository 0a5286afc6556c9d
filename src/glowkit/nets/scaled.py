"""Glow's convolution: parameters with a log-scale, and a border."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.nets.border import add_border

LAST = torch.channels_last
"""The layout in which a CPU's convolutions take half the time."""

LOG_SCALE_FACTOR = 3.0
"""openai/glow multiplies its learned log-scales by 3, so that they learn three times as fast."""


class Scaled(NamedTuple):
    """A convolution's parameters: y = (weight * x + bias) · exp(3 · logs).

    weight (out, in, k, k); edge (out, 3, 3), the filters of the ring channel, or None; bias and
    logs (out,).
    """

    weight: Tensor
    edge: Tensor | None
    bias: Tensor
    logs: Tensor

    def scale(self) -> Tensor:
        return torch.exp(LOG_SCALE_FACTOR * self.logs)

    def tail(self) -> Tensor:
        """Edge, if any, and bias: (out, 10) or (out, 1)."""
        bias = self.bias[:, None]
        return bias if self.edge is None else torch.cat([self.edge.flatten(1), bias], 1)


def convolve(x: Tensor, weight: Tensor, tail: Tensor) -> Tensor:
    """Convolution, ring and bias, given weight and tail with the scale in them."""
    if tail.shape[1] == 1:
        return F.conv2d(x, weight, tail.flatten().to(x.dtype))
    y = F.conv2d(x, weight, padding=1).contiguous(memory_format=LAST)
    add_border(y, tail)
    return y
