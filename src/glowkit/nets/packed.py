"""Convolutions whose weights are made ready once, for evaluation and sampling."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from glowkit.nets import onednn
from glowkit.nets.border import add_border
from glowkit.nets.scaled import LAST, Scaled


class Packed(NamedTuple):
    """What a `Scaled` convolution adds up to, for images of one size; no gradients.

    weight as `Scaled.scaled_weight` gives it, in oneDNN's layout where that has kernels for it;
    shift as `Scaled.shift` does.
    """

    layer: Scaled
    weight: Tensor
    shift: Tensor

    @classmethod
    def of(cls, layer: Scaled, dtype: torch.dtype, size: tuple[int, int]) -> "Packed":
        """For images of size (H, W)."""
        scale = layer.scale()
        weight = layer.scaled_weight(scale).to(dtype, memory_format=LAST)
        if onednn.has_kernels(weight):
            weight = onednn.pack(weight, size)
        return cls(layer, weight, layer.shift(scale, *size).to(dtype))

    def convolve(self, x: Tensor, added: Tensor | None, activation: str) -> Tensor:
        """y + added, channels last in memory, and then "relu", or "none"."""
        read, done = self.layer.read(x, self.weight.dtype), "none"
        if not self.weight.is_mkldnn:
            y = self.layer.convolve(read, self.weight, self.shift)
        elif self.shift.dim() == 2:
            y = onednn.convolve(read, self.weight, None, done)
            add_border(y, self.shift)
        else:
            # What is added comes before the activation, which is then a pass of its own.
            done = activation if added is None else done
            y = onednn.convolve(read, self.weight, self.shift, done)
        if added is not None:
            y += added
        return y if activation == done else y.relu_()


def three_packed(x: Tensor, added: Tensor | None, layers: Sequence[Packed]) -> Tensor:
    """What `ThreeConvolutions` gives, without gradients."""
    first, second, last = layers
    with torch.autocast(x.device.type, enabled=False):
        h = second.convolve(first.convolve(x, added, "relu"), None, "relu")
        return last.convolve(h, None, "none").to(x.dtype, memory_format=torch.contiguous_format)
