"""Convolutions whose weights are made ready once, for evaluation and sampling."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from glowkit.nets import onednn
from glowkit.nets.border import add_border
from glowkit.nets.scaled import LAST, Scaled

SAFE = torch.finfo(torch.float32).max / 4
"""What stays below it cannot overflow in float32 or bfloat16, roundings included."""


FEW = 16384
"""Activations, of which a pass of its own for a ReLU costs less than to find out about NaN."""


class Packed(NamedTuple):
    """What a `Scaled` convolution adds up to, for images of one size; no gradients.

    weight as `Scaled.scaled_weight` gives it, in oneDNN's layout where that has kernels for it;
    shift as `Scaled.shift` does. gain and offset: |y| is at most gain · max |x| + offset.
    """

    layer: Scaled
    weight: Tensor
    shift: Tensor
    gain: float
    offset: float

    @classmethod
    def of(cls, layer: Scaled, dtype: torch.dtype, size: tuple[int, int]) -> "Packed":
        """For images of size (H, W)."""
        scale = layer.scale()
        weight = layer.scaled_weight(scale).to(dtype, memory_format=LAST)
        shift = layer.shift(scale, *size).to(dtype)
        gain, offset = weight.abs().sum((1, 2, 3)).max(), shift.abs().max()
        if onednn.has_kernels(weight):
            weight = onednn.pack(weight, size)
        return cls(layer, weight, shift, float(gain), float(offset))

    def convolve(self, read: Tensor, added: Tensor | None, activation: str, calm: bool) -> Tensor:
        """y + added of `layer.read(x)`, channels last in memory, and then "relu", or "none".

        oneDNN's ReLU makes 0 of NaN: it serves where `calm` says that there can be none.
        """
        done = "none"
        if not self.weight.is_mkldnn:
            y = self.layer.convolve(read, self.weight, self.shift)
        elif self.shift.dim() == 2:
            y = onednn.convolve(read, self.weight, None, done)
            add_border(y, self.shift)
        else:
            # What is added comes before the activation, which is then a pass of its own.
            done = activation if added is None and calm else done
            y = onednn.convolve(read, self.weight, self.shift, done)
        if added is not None:
            y += added
        return y if activation == done else y.relu_()


def three_packed(x: Tensor, added: Tensor | None, layers: Sequence[Packed]) -> Tensor:
    """What `ThreeConvolutions` gives, without gradients."""
    first, second, last = layers
    with torch.autocast(x.device.type, enabled=False):
        read = first.layer.read(x, first.weight.dtype)
        calm = False
        if read[:, 0].numel() * len(first.layer.weight) > FEW:
            reach = first.gain * _largest(read) + first.offset
            reach += 0.0 if added is None else _largest(added)
            # False where anything is NaN.
            calm = reach < SAFE and second.gain * reach + second.offset < SAFE
        h = first.convolve(read, added, "relu", calm)
        h = second.convolve(second.layer.read(h, second.weight.dtype), None, "relu", calm)
        y = last.convolve(last.layer.read(h, last.weight.dtype), None, "none", calm)
        return y.to(x.dtype, memory_format=torch.contiguous_format)


def _largest(x: Tensor) -> float:
    """max |x|; NaN where there is one."""
    # As one row, which torch reads several times as fast as the same numbers in channels last.
    low, high = x.permute(0, 2, 3, 1).reshape(-1).aminmax()
    return max(-float(low), float(high))
