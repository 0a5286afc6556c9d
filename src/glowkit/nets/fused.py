"""Glow's conditioner as one node of autograd's graph: three convolutions and little else."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from glowkit.nets.kernel import Kernel
from glowkit.nets.scaled import LAST, Scaled

Dtypes = tuple[torch.dtype, torch.dtype, torch.dtype]


class ThreeConvolutions(Kernel):
    """conv → (+ added) → ReLU → conv → ReLU → conv, each in its dtype, channels last in memory.

    What autograd does with a node for each layer is done with fewer passes over the widest tensors:
    ReLU and its gradient work in place, and scales are folded into weights. Shapes: x (N, C_in, H,
    W); `added`, if any, broadcasts to the first hidden layer; then the fields of a `Scaled` for
    each convolution, 3x3 where it has an edge and 1x1 where it has none. Returns (N, C_out, H, W)
    in x's dtype. Keeps what the convolutions read.
    """

    @staticmethod
    def plain(dtypes: Dtypes, x: Tensor, added: Tensor | None, *parameters: Tensor) -> Tensor:
        h = x
        with torch.autocast(x.device.type, enabled=False):  # `dtypes` say it all
            for i, layer in enumerate(_layers(parameters)):
                h = layer.plain(h.relu() if i > 0 else h, dtypes[i])
                if i == 0 and added is not None:
                    h = h + added.to(h.dtype)
            return h.to(x.dtype)

    @staticmethod
    def quick(
        dtypes: Dtypes, x: Tensor, added: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, Sequence[Tensor]]:
        layers, size = list(_layers(parameters)), x.shape[2:]
        with torch.autocast(x.device.type, enabled=False):
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
        y = h.to(x.dtype, memory_format=torch.contiguous_format)
        return y, (*read, *scales, *weights)

    @staticmethod
    def gradients(
        inputs: Sequence[Any], kept: Sequence[Tensor], *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        (_, x, added, *parameters), (grad,) = inputs, grads
        read, scales, weights, layers = kept[:3], kept[3:6], kept[6:], list(_layers(parameters))
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
                for gradient in layer.gradients(scale, *pair, x.shape[2:])
            ]
        return None, grad.to(x.dtype), by_added, *found


def _layers(parameters: Sequence[Any]) -> Iterator[Scaled]:
    return (Scaled(*parameters[i : i + 4]) for i in range(0, len(parameters), 4))
