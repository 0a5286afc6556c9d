"""Glow's conditioner as one node of autograd's graph: three convolutions and little else."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from glowkit.nets.gradients import data_gradient
from glowkit.nets.scaled import LAST, Scaled


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
                weights.append(layer.scaled_weight(scales[i]).to(dtype, memory_format=LAST))
                h = layer.convolve(h, scales[i], weights[i])
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
                found = [*layers[i].gradients(grad, seen[i], scales[i], weights[i]), *found]
                grad = data_gradient(grad, seen[i], weights[i])
                if i > 0:
                    # In place: nobody else has seen this gradient.
                    torch.ops.aten.threshold_backward.grad_input(grad, seen[i], 0, grad_input=grad)
        return None, grad.to(x.dtype), by_added, *found


def _layers(parameters: Sequence[Any]) -> Iterator[Scaled]:
    return (Scaled(*parameters[i : i + 4]) for i in range(0, len(parameters), 4))
