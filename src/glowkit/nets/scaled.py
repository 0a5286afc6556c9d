"""Glow's convolution: weight, border and bias, all times a learned scale."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.nets.border import add_border, border, border_gradient, ring_patches
from glowkit.nets.gradients import data_gradient, pixels, weight_gradient

LAST = torch.channels_last
"""The layout in which a CPU's convolutions take half the time."""

LOG_SCALE_FACTOR = 3.0
"""openai/glow multiplies its learned log-scales by 3, so that they learn three times as fast."""


class Scaled(NamedTuple):
    """A convolution's parameters: y = (weight * x + bias) · exp(3 · logs).

    weight (out, in, k, k); edge (out, 3, 3), the filters of the ring channel, or None where k is 1;
    bias and logs (out,). The ring channel is 1 on the padding and 0 inside. Where x is thin and y
    is wide, it costs least as a channel that is 1 inside and 0 on the padding, with the sum of all
    its filters to subtract from; where y is thin, as a border that is added to y.
    """

    weight: Tensor
    edge: Tensor | None
    bias: Tensor
    logs: Tensor

    def reads_ones(self) -> bool:
        """Whether the convolution reads a channel of ones, the last one, beside those of x."""
        return self.edge is not None and self.weight.shape[1] < self.weight.shape[0]

    def read(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """What the convolution reads: x, channels last in memory, and ones if it needs them."""
        if self.reads_ones():
            x = F.pad(x, (0, 0, 0, 0, 0, 1), value=1.0)
        return x.to(dtype, memory_format=LAST)

    def scale(self) -> Tensor:
        return torch.exp(LOG_SCALE_FACTOR * self.logs)

    def scaled_weight(self, scale: Tensor) -> Tensor:
        """(out, in or in + 1, k, k)."""
        weight = self.weight
        if self.edge is not None and self.reads_ones():
            weight = torch.cat([weight, -self.edge[:, None]], 1)
        return weight * scale[:, None, None, None]

    def shift(self, scale: Tensor, height: int, width: int) -> Tensor:
        """What is added to the convolution: (out,), or (H·W, out) where it is a border."""
        if self.edge is None:
            return self.bias * scale
        if self.reads_ones():
            return (self.bias + self.edge.sum((1, 2))) * scale
        return border(self.edge, self.bias, height, width) * scale

    def plain(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """y of x, in `dtype`, as the formula says it."""
        scale, padding = self.scale(), self.weight.shape[-1] // 2
        weight = self.weight * scale[:, None, None, None]
        y = F.conv2d(x.to(dtype), weight.to(dtype), padding=padding)
        shift = self.bias[:, None, None]
        if self.edge is not None:
            ring = F.pad(self.bias.new_zeros(1, 1, *x.shape[2:]), (1, 1, 1, 1), value=1.0)
            shift = shift + F.conv2d(ring, self.edge[:, None])
        return y + (shift * scale[:, None, None]).to(dtype)

    def convolve(self, read: Tensor, scaled_weight: Tensor, shift: Tensor) -> Tensor:
        """y, channels last in memory and in the dtype of `read`, in one pass over it or two."""
        padding = scaled_weight.shape[-1] // 2
        if shift.dim() == 1:
            return F.conv2d(read, scaled_weight, shift.to(read.dtype), padding=padding)
        y = F.conv2d(read, scaled_weight, padding=padding).contiguous(memory_format=LAST)
        add_border(y, shift)
        return y

    def data_gradient(self, grad: Tensor, read: Tensor, scaled_weight: Tensor) -> Tensor:
        """The gradient of x from that of y, channels last like it."""
        found = self.x_of(data_gradient(grad, read, scaled_weight))
        return found.contiguous(memory_format=LAST)

    def x_of(self, read: Tensor) -> Tensor:
        """The channels of x among those that the convolution reads."""
        return read[:, :-1] if self.reads_ones() else read

    def sums(self, grad: Tensor, read: Tensor, scaled_weight: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of `scaled_weight` and of `shift`: all that passes over activations."""
        by_scaled = weight_gradient(grad, read, scaled_weight)
        if self.edge is None:
            return by_scaled, pixels(grad).sum(0)
        if self.reads_ones():
            # The middle tap of the ones sees every pixel.
            return by_scaled, by_scaled[:, -1, 1, 1]
        return by_scaled, border_gradient(grad)

    def gradients(
        self, scale: Tensor, by_scaled: Tensor, by_shift: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor | None, ...]:
        """Those of weight, edge, bias and logs from what `sums` gives, for images of that size."""
        dtype, edge = self.weight.dtype, self.edge
        by_scaled, by_bias = by_scaled.to(dtype), by_shift.to(dtype) * scale
        by_edge: Tensor | None = None
        if edge is not None and self.reads_ones():
            by_edge = by_bias[:, None, None] - by_scaled[:, -1] * scale[:, None, None]
        elif edge is not None:
            ring = ring_patches(*size, dtype, scale.device)
            by_edge, by_bias = (by_bias.T @ ring).view(edge.shape), by_bias.sum(0)
        # In a new tensor's strides, 1x1 kernels too, which several processes share in a buffer.
        by_weight = self.weight.new_empty(self.weight.shape)
        torch.mul(self.x_of(by_scaled), scale[:, None, None, None], out=by_weight)
        by_logs = (by_weight * self.weight).sum((1, 2, 3))
        if edge is not None and by_edge is not None:
            by_logs += (by_edge * edge).sum((1, 2))
        by_logs.addcmul_(by_bias, self.bias)
        return by_weight, by_edge, by_bias, by_logs.mul_(LOG_SCALE_FACTOR)
