"""Glow's conditioner as one node of autograd's graph: three convolutions and little else."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from glowkit.nets.border import tail_gradient
from glowkit.nets.gradients import data_gradient, pixels, weight_gradient
from glowkit.nets.scaled import LAST, LOG_SCALE_FACTOR, Scaled, convolve


class ThreeConvolutions(torch.autograd.Function):
    """conv → (+ added) → ReLU → conv → ReLU → conv, computed in `dtype`, channels last in memory.

    What autograd does with a node for each layer is done with fewer passes over the widest tensors:
    ReLU and its gradient work in place, and scales are folded into weights. Shapes: x (N, C_in, H,
    W); `added`, if any, broadcasts to the first hidden layer; then the fields of a `Scaled` for
    each convolution, 3x3 where it has an edge and 1x1 where it has none. Returns (N, C_out, H, W)
    in x's dtype. Differentiable once. Keeps x and both hidden layers.
    """

    @staticmethod
    def forward(
        ctx: Any, dtype: torch.dtype, x: Tensor, added: Tensor | None, *parameters: Tensor
    ) -> Tensor:
        h = x.to(dtype, memory_format=LAST)
        seen, scales, weights = [], [], []
        with torch.autocast(x.device.type, enabled=False):  # `dtype` says it all
            for i, layer in enumerate(_layers(parameters)):
                if i > 0:
                    h.relu_()
                seen.append(h)
                scales.append(layer.scale())
                weight = layer.weight * scales[i][:, None, None, None]
                weights.append(weight.to(dtype, memory_format=LAST))
                h = convolve(h, weights[i], layer.tail() * scales[i][:, None])
                if i == 0 and added is not None:
                    h += added
        ctx.save_for_backward(x, added, *seen, *scales, *weights, *parameters)
        return h.to(x.dtype, memory_format=torch.contiguous_format)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, added, *kept = ctx.saved_tensors
        seen, scales, weights, layers = kept[:3], kept[3:6], kept[6:9], list(_layers(kept[9:]))
        grad = grad.to(seen[0].dtype, memory_format=LAST)
        by_added: Tensor | None = None
        found: list[Tensor | None] = []
        with torch.autocast(x.device.type, enabled=False):
            for i in (2, 1, 0):
                if i == 0 and added is not None:
                    by_added = grad.sum_to_size(added.shape).to(added.dtype)
                by_weight, by_tail = _by_scaled(grad, seen[i], weights[i], layers[i])
                found = [*_by_parameters(by_weight, by_tail, layers[i], scales[i]), *found]
                grad = data_gradient(grad, seen[i], weights[i])
                if i > 0:
                    # In place: nobody else has seen this gradient.
                    torch.ops.aten.threshold_backward.grad_input(grad, seen[i], 0, grad_input=grad)
        return None, grad.to(x.dtype), by_added, *found


def _layers(parameters: Any) -> Any:
    quadruples = zip(*(parameters[i::4] for i in range(4)), strict=True)
    return (Scaled(*fields) for fields in quadruples)


def _by_scaled(grad: Tensor, x: Tensor, weight: Tensor, layer: Scaled) -> tuple[Tensor, Tensor]:
    """The gradients of weight and tail with the scale in them, in the parameters' dtype."""
    dtype = layer.weight.dtype
    if layer.edge is None:
        by_tail = pixels(grad).sum(0).to(dtype)[:, None]
    else:
        by_tail = tail_gradient(grad, dtype)
    return weight_gradient(grad, x, weight).to(dtype), by_tail


def _by_parameters(
    by_weight: Tensor, by_tail: Tensor, layer: Scaled, scale: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients of weight, edge, bias and logs."""
    by_scale = (by_tail * layer.tail()).sum(1) + (by_weight * layer.weight).sum((1, 2, 3))
    by_tail = by_tail * scale[:, None]
    # In the strides of a new tensor, 1x1 kernels too, which several processes share in one buffer.
    by_raw = layer.weight.new_empty(layer.weight.shape)
    torch.mul(by_weight, scale[:, None, None, None], out=by_raw)
    by_edge = None if layer.edge is None else by_tail[:, :9].reshape(layer.edge.shape)
    return by_raw, by_edge, by_tail[:, -1].clone(), by_scale * scale * LOG_SCALE_FACTOR
