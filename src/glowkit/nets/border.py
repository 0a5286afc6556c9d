"""Edge bias: what a channel that is 1 on the padding ring, and 0 inside, adds to a convolution."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

SMALL = 64
"""Pixels of a map that is added whole, since four additions would take longer than one."""


def border_map(edge: Tensor, height: int, width: int) -> Tensor:
    """What the ring channel adds to a 3x3 convolution, (out, H, W); edge, (out, 3, 3), its filters.

    It is the same for every image, so one small matrix product serves the batch, and it is 0 but on
    the border.
    """
    # Channels last in memory, as what it is added to.
    patches = _ring_patches(height, width, edge.dtype, edge.device)
    return (patches @ edge.flatten(1).T).view(height, width, -1).permute(2, 0, 1)


def add_border(y: Tensor, edge: Tensor) -> None:
    """Add the border map to y, (N, out, H, W), in place: a pass over the border's pixels alone."""
    added = border_map(edge, y.shape[2], y.shape[3]).to(y.dtype)
    for part in _border(y.shape[2], y.shape[3]):
        y[:, *part] += added[part]


def edge_gradient(grad: Tensor, edge: Tensor) -> Tensor:
    """The gradient of `edge` from that of what the map was added to."""
    _, channels, height, width = grad.shape
    by_map = edge.new_zeros(height, width, channels).permute(2, 0, 1)
    for part in _border(height, width):
        by_map[part] = grad[:, *part].sum(0, dtype=edge.dtype)
    patches = _ring_patches(height, width, edge.dtype, edge.device)
    return (by_map.permute(1, 2, 0).flatten(0, 1).T @ patches).view_as(edge)


def _border(height: int, width: int) -> list[tuple[slice, ...]]:
    """The border's pixels as slices of (C, H, W), none of them twice."""
    every, middle = slice(None), slice(1, height - 1)
    if height * width <= SMALL:
        return [(every, every, every)]
    parts: list[tuple[slice, ...]] = [(every, slice(0, 1), every)]
    if height > 1:
        parts.append((every, slice(height - 1, height), every))
    if height > 2:
        parts.append((every, middle, slice(0, 1)))
        if width > 1:
            parts.append((every, middle, slice(width - 1, width)))
    return parts


@lru_cache(maxsize=64)
def _ring_patches(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What each of the 9 taps sees of a channel that is 1 on the padding ring: (H·W, 9)."""
    with torch.inference_mode(False), torch.no_grad():
        inside = torch.zeros(1, 1, height, width, dtype=dtype, device=device)
        return F.unfold(F.pad(inside, (1, 1, 1, 1), value=1.0), 3)[0].T.contiguous()
