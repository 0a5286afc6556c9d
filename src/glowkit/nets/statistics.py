"""Channel statistics for data-dependent initialisation."""

from typing import Any

import torch
from torch import Tensor

from glowkit.nets.kernel import whole

SCALE_FLOOR = 1e-4
"""Smallest standard deviation that is divided by: a constant channel is scaled by at most 1e4."""


class SeesData:
    """What modules that are initialised from data share: whether they have been."""

    initialized: Tensor
    _seen: tuple[Tensor, int] | None = None

    def ready(self) -> bool:
        """Whether it has seen data, or was loaded with weights that have."""
        flag = whole(self.initialized)
        if flag.is_cpu or flag.is_inference():
            return bool(flag if flag.dim() == 0 else flag.all())
        # Read when it was replaced or written to: at every call it would stall a GPU.
        if self._seen is None or self._seen[0] is not flag or self._seen[1] != flag._version:
            self._seen = (flag, flag._version) if flag.all() else None
        return self._seen is not None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_seen": None}


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
