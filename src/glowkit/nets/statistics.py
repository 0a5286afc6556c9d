"""Channel statistics for data-dependent initialisation."""

import torch
from torch import Tensor

SCALE_FLOOR = 1e-4
"""Smallest standard deviation that is divided by: a constant channel is scaled by at most 1e4."""


class SeesData:
    """What modules that are initialised from data share: whether they have been."""

    initialized: Tensor
    _ready = False

    def ready(self) -> bool:
        """Whether it has seen data, or was loaded with weights that have."""
        # Asked until it is: reading the flag at every call would stall a GPU.
        self._ready = self._ready or bool(self.initialized)
        return self._ready


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased standard deviation of each channel, over batch and space, each (C,).

    x is (N, C, ...). The deviation is floored at `SCALE_FLOOR`.

    >>> mean, std = channel_statistics(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    >>> mean.tolist(), std[0].item()
    ([2.0, 5.0], 1.0)
    """
    flat = x.transpose(0, 1).flatten(1).double()
    std, mean = torch.std_mean(flat, dim=1, correction=0)
    return mean.to(x.dtype), std.clamp_min(SCALE_FLOOR).to(x.dtype)
