"""Edge bias: what a channel that is 1 on the padding ring, and 0 inside, adds to a convolution.

It is the same for every image, so one small matrix product serves the batch.
"""

from functools import lru_cache
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F


def border(edge: Tensor, bias: Tensor, height: int, width: int) -> Tensor:
    """What the ring channel, with filters `edge` (out, 3, 3), and the bias add: (H·W, out)."""
    ring = ring_patches(height, width, edge.dtype, edge.device)
    return torch.addmm(bias, ring, edge.flatten(1).T)


def add_border(y: Tensor, border: Tensor) -> None:
    """Add the border to y, (N, out, H, W), which is channels last in memory, in place."""
    _images(y).add_(border.flatten().to(y.dtype))


def border_gradient(grad: Tensor) -> Tensor:
    """The gradient of the border, (H·W, out), from that of y, channels last in memory too."""
    return _images(grad).sum(0).view(-1, grad.shape[1])


def _images(x: Tensor) -> Tensor:
    # Rows, since a CPU sums and adds those several times as fast as the same numbers in 4D.
    return x.permute(0, 2, 3, 1).view(len(x), prod(x.shape[1:]))


@lru_cache(maxsize=64)
def ring_patches(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What each of the 9 taps sees of a channel that is 1 on the padding ring: (H·W, 9)."""
    with torch.inference_mode(False), torch.no_grad():
        inside = torch.zeros(1, 1, height, width, dtype=dtype, device=device)
        return F.unfold(F.pad(inside, (1, 1, 1, 1), value=1.0), 3)[0].T.contiguous()
