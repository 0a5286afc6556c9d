"""Glow's conditioner as one node of autograd's graph: three convolutions and little else."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from glowkit.nets.border import add_border, edge_gradient

LAST = torch.channels_last
"""The layout in which a CPU's convolutions take half the time."""


class ThreeConvolutions(torch.autograd.Function):
    """conv → (+ added) → ReLU → conv → ReLU → conv, computed in `dtype`, channels last in memory.

    What autograd does with a node for each layer is done with fewer passes over the widest tensors:
    ReLU and its gradient work in place, and edge biases are added, and their gradients read, on the
    border alone. Shapes: x (N, C_in, H, W); `added`, if any, broadcasts to the first hidden layer;
    then a weight (out, in, k, k), bias (out,) and edge (out, 3, 3), None unless k = 3, for each
    convolution. Returns (N, C_out, H, W) in x's dtype. Differentiable once. Keeps x and both hidden
    layers.
    """

    @staticmethod
    def forward(
        ctx: Any, dtype: torch.dtype, x: Tensor, added: Tensor | None, *layers: Tensor
    ) -> Tensor:
        h = x.to(dtype, memory_format=LAST)
        seen, weights = [], []
        for i, (weight, bias, edge) in enumerate(_triples(layers)):
            if i > 0:
                h.relu_()
            seen.append(h)
            weights.append(weight.to(dtype, memory_format=LAST))
            with torch.autocast(x.device.type, enabled=False):  # `dtype` says it all
                h = F.conv2d(h, weights[i], bias.to(dtype), padding=weight.shape[-1] // 2)
            if edge is not None:
                add_border(h, edge)
            if i == 0 and added is not None:
                h += added
        ctx.save_for_backward(x, added, *seen, *weights, *layers)
        return h.to(x.dtype, memory_format=torch.contiguous_format)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, added, *kept = ctx.saved_tensors
        seen, weights, layers = kept[:3], kept[3:6], list(_triples(kept[6:]))
        grad = grad.to(seen[0].dtype, memory_format=LAST)
        by_added: Tensor | None = None
        found: list[Tensor | None] = []
        for i in (2, 1, 0):
            weight, bias, edge = layers[i]
            if i == 0 and added is not None:
                by_added = grad.sum_to_size(added.shape).to(added.dtype)
            by_edge = None if edge is None else edge_gradient(grad, edge)
            grad, by_weight, by_bias = _convolution_backward(grad, seen[i], weights[i])
            # A copy in the weight's own strides, which several processes share in one buffer.
            by_weight = weight.new_empty(weight.shape).copy_(by_weight)
            found = [by_weight, by_bias.to(bias.dtype), by_edge, *found]
            if i > 0:
                # In place: nobody else has seen this gradient.
                torch.ops.aten.threshold_backward.grad_input(grad, seen[i], 0, grad_input=grad)
        return None, grad.to(x.dtype), by_added, *found


def _triples(layers: Any) -> Any:
    return zip(layers[0::3], layers[1::3], layers[2::3], strict=True)


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias, of stride 1 and padding that keeps the size."""
    padding, wanted = [weight.shape[-1] // 2] * 2, [True, True, True]
    ones, zeros, biases = [1, 1], [0, 0], [len(weight)]
    return torch.ops.aten.convolution_backward(
        grad, x, weight, biases, ones, padding, ones, False, zeros, 1, wanted
    )
