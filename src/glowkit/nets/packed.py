"""Convolutions whose weights are made ready once, for evaluation and sampling."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.nets import onednn
from glowkit.nets.border import add_border
from glowkit.nets.scaled import LAST, Scaled


class Packed(NamedTuple):
    """What a `Scaled` convolution adds up to, for images of one size; no gradients.

    weight (out, in or in + 1, k, k), in oneDNN's layout where that has kernels for it; bias (out,),
    or None where there is a border, (H·W, out).
    """

    layer: Scaled
    weight: Tensor
    bias: Tensor | None
    border: Tensor | None

    @classmethod
    def of(cls, layer: Scaled, dtype: torch.dtype, size: tuple[int, int]) -> "Packed":
        """For images of size (H, W)."""
        scale = layer.scale()
        weight = layer.scaled_weight(scale).to(dtype, memory_format=LAST)
        shift = layer.shift(scale, *size).to(dtype)
        bias, border = (shift, None) if shift.dim() == 1 else (None, shift)
        if onednn.has_kernels(weight):
            weight = onednn.pack(weight, size)
        return cls(layer, weight, bias, border)

    def convolve(self, x: Tensor, added: Tensor | None, activation: str) -> Tensor:
        """y + added, channels last in memory, and then "relu", or "none"."""
        # What is added comes before the activation, which is then a pass of its own.
        at_once = "none" if self.border is not None or added is not None else activation
        read, padding = self.layer.read(x, self.weight.dtype), self.weight.shape[-1] // 2
        if self.weight.is_mkldnn:
            y = onednn.convolve(read, self.weight, self.bias, at_once)
        else:
            y = F.conv2d(read, self.weight, self.bias, padding=padding)
            y = y.contiguous(memory_format=LAST)
            at_once = "none"
        if self.border is not None:
            add_border(y, self.border)
        if added is not None:
            y += added
        return y.relu_() if activation != at_once else y


def three_packed(x: Tensor, added: Tensor | None, layers: Sequence[Packed]) -> Tensor:
    """What `ThreeConvolutions` gives, without gradients."""
    first, second, last = layers
    with torch.autocast(x.device.type, enabled=False):
        h = second.convolve(first.convolve(x, added, "relu"), None, "relu")
        return last.convolve(h, None, "none").to(x.dtype, memory_format=torch.contiguous_format)
