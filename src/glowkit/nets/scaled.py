"""Glow's convolution: weight, border and bias, all times a learned scale."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.nets.border import add_border, border, border_gradient, ring_patches
from glowkit.nets.gradients import pixels, weight_gradient

LAST = torch.channels_last
"""The layout in which a CPU's convolutions take half the time."""

LOG_SCALE_FACTOR = 3.0
"""openai/glow multiplies its learned log-scales by 3, so that they learn three times as fast."""


class Scaled(NamedTuple):
    """A convolution's parameters: y = (weight * x + bias) · exp(3 · logs).

    weight (out, in, k, k); edge (out, 3, 3), the filters of the ring channel, or None where k is 1;
    bias and logs (out,).
    """

    weight: Tensor
    edge: Tensor | None
    bias: Tensor
    logs: Tensor

    def scale(self) -> Tensor:
        return torch.exp(LOG_SCALE_FACTOR * self.logs)

    def scaled_weight(self, scale: Tensor) -> Tensor:
        return self.weight * scale[:, None, None, None]

    def convolve(self, x: Tensor, scale: Tensor, scaled_weight: Tensor) -> Tensor:
        """y, channels last in memory and in x's dtype, in one pass over it or two."""
        if self.edge is None:
            return F.conv2d(x, scaled_weight, (self.bias * scale).to(x.dtype))
        y = F.conv2d(x, scaled_weight, padding=1).contiguous(memory_format=LAST)
        add_border(y, border(self.edge, self.bias, *x.shape[2:]) * scale)
        return y

    def gradients(
        self, grad: Tensor, x: Tensor, scale: Tensor, scaled_weight: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Those of weight, edge, bias and logs from that of y; grad and x are channels last."""
        dtype, edge = self.weight.dtype, self.edge
        # In a new tensor's strides, 1x1 kernels too, which several processes share in a buffer.
        by_weight = self.weight.new_empty(self.weight.shape)
        by_scaled = weight_gradient(grad, x, scaled_weight).to(dtype)
        torch.mul(by_scaled, scale[:, None, None, None], out=by_weight)
        by_logs = (by_weight * self.weight).sum((1, 2, 3))
        if edge is None:
            by_edge, by_bias = None, pixels(grad).sum(0).to(dtype) * scale
        else:
            by_border = border_gradient(grad).to(dtype) * scale
            ring = ring_patches(*grad.shape[2:], dtype, grad.device)
            by_edge, by_bias = (by_border.T @ ring).view(edge.shape), by_border.sum(0)
            by_logs += (by_edge * edge).sum((1, 2))
        by_logs.addcmul_(by_bias, self.bias)
        return by_weight, by_edge, by_bias, by_logs.mul_(LOG_SCALE_FACTOR)
