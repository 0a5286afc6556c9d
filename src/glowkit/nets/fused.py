"""Glow's conditioner as one node of autograd's graph: three convolutions and little else."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from glowkit.nets.scaled import LAST, Scaled

Dtypes = tuple[torch.dtype, torch.dtype, torch.dtype]


class ThreeConvolutions(torch.autograd.Function):
    """conv → (+ added) → ReLU → conv → ReLU → conv, each in its dtype, channels last in memory.

    What autograd does with a node for each layer is done with fewer passes over the widest tensors:
    ReLU and its gradient work in place, and scales are folded into weights. Shapes: x (N, C_in, H,
    W); `added`, if any, broadcasts to the first hidden layer; then the fields of a `Scaled` for
    each convolution, 3x3 where it has an edge and 1x1 where it has none. Returns (N, C_out, H, W)
    in x's dtype. Differentiable once. Keeps what the convolutions read.
    """

    @staticmethod
    def forward(
        ctx: Any, dtypes: Dtypes, x: Tensor, added: Tensor | None, *parameters: Tensor
    ) -> Tensor:
        layers, size = list(_layers(parameters)), x.shape[2:]
        with torch.autocast(x.device.type, enabled=False):  # `dtypes` say it all
            scales = [layer.scale() for layer in layers]
            pairs = list(zip(layers, scales, strict=True))
            weights = [
                layer.scaled_weight(s).to(d, memory_format=LAST)
                for (layer, s), d in zip(pairs, dtypes, strict=True)
            ]
            shifts = [layer.shift(s, *size) for layer, s in pairs]
            h, read = x, []
            for i, layer in enumerate(layers):
                read.append(layer.read(h if i == 0 else h.relu_(), dtypes[i]))
                h = layer.convolve(read[i], weights[i], shifts[i])
                if i == 0 and added is not None:
                    h += added
        ctx.save_for_backward(added, *read, *scales, *weights, *parameters)
        ctx.dtype, ctx.size = x.dtype, size
        return h.to(x.dtype, memory_format=torch.contiguous_format)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        added, *rest = ctx.saved_tensors
        read, scales, weights, layers = rest[:3], rest[3:6], rest[6:9], list(_layers(rest[9:]))
        by_added: Tensor | None = None
        sums: list[tuple[Tensor, Tensor]] = []
        with torch.autocast(grad.device.type, enabled=False):
            for i in (2, 1, 0):
                grad = grad.to(read[i].dtype, memory_format=LAST)
                if i == 0 and added is not None:
                    by_added = grad.sum_to_size(added.shape).to(added.dtype)
                sums.append(layers[i].sums(grad, read[i], weights[i]))
                grad = layers[i].data_gradient(grad, read[i], weights[i])
                if i > 0:
                    # In place: nobody else has seen this gradient.
                    active = layers[i].x_of(read[i])
                    torch.ops.aten.threshold_backward.grad_input(grad, active, 0, grad_input=grad)
            found = [
                gradient
                for layer, scale, pair in zip(layers, scales, reversed(sums), strict=True)
                for gradient in layer.gradients(scale, *pair, ctx.size)
            ]
        return None, grad.to(ctx.dtype), by_added, *found


def _layers(parameters: Sequence[Any]) -> Iterator[Scaled]:
    return (Scaled(*parameters[i : i + 4]) for i in range(0, len(parameters), 4))
