"""A 3x3 convolution with a bias that differs at the border, in one pass over the activations."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class BorderedConv(torch.autograd.Function):
    """y = weight * x + bias + border(edge), zero-padded; see `ScaledConv2d`.

    A channel that is 1 on the padding ring and 0 inside adds the same map to every image, and that
    map is 0 except on the border: so it is added there alone, and its gradient is read there alone.
    Shapes: x (N, C_in, H, W), weight (C_out, C_in, 3, 3), bias (C_out,), edge (C_out, 3, 3).
    Differentiable once. Cost: the convolution's and a pass over the 2(H + W) border pixels.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, edge: Tensor) -> Tensor:
        y = F.conv2d(x, weight, bias, padding=1)
        ctx.save_for_backward(x, weight, edge)
        added = _border_map(edge, y.shape[2], y.shape[3]).to(y.dtype)
        for part in _border(y.shape[2], y.shape[3]):
            y[:, *part] += added[part]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, edge = ctx.saved_tensors
        _, channels, height, width = grad.shape
        grad_map = edge.new_zeros(channels, height, width)
        for part in _border(height, width):
            grad_map[part] = grad[:, *part].sum(0, dtype=edge.dtype)
        grad_edge = grad_map.flatten(1) @ _ring_patches(height, width, edge.dtype, edge.device).T
        wanted = (ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.needs_input_grad[2])
        by_x, by_weight, by_bias = torch.ops.aten.convolution_backward(
            grad,
            x.to(grad.dtype),
            weight.to(grad.dtype),
            [channels],
            [1, 1],
            [1, 1],
            [1, 1],
            False,
            [0, 0],
            1,
            wanted,
        )
        return (
            _like(x, by_x),
            _like(weight, by_weight),
            _like(edge, by_bias),
            grad_edge.view_as(edge),
        )


def _like(tensor: Tensor, grad: Tensor | None) -> Tensor | None:
    return None if grad is None else grad.to(tensor.dtype)


def _border(height: int, width: int) -> list[tuple[slice, ...]]:
    """The border's pixels as slices of (C, H, W), none of them twice."""
    every, middle = slice(None), slice(1, height - 1)
    parts: list[tuple[slice, ...]] = [(every, slice(0, 1), every)]
    if height > 1:
        parts.append((every, slice(height - 1, height), every))
    if height > 2:
        parts.append((every, middle, slice(0, 1)))
        if width > 1:
            parts.append((every, middle, slice(width - 1, width)))
    return parts


def _border_map(edge: Tensor, height: int, width: int) -> Tensor:
    """What the ring channel adds: (out, H, W), from its filters, (out, 3, 3)."""
    patches = _ring_patches(height, width, edge.dtype, edge.device)
    return (edge.flatten(1) @ patches).view(-1, height, width)


@lru_cache(maxsize=64)
def _ring_patches(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What each of the 9 taps sees of a channel that is 1 on the padding ring: (9, H·W)."""
    with torch.inference_mode(False), torch.no_grad():
        inside = torch.zeros(1, 1, height, width, dtype=dtype, device=device)
        return F.unfold(F.pad(inside, (1, 1, 1, 1), value=1.0), 3)[0]
