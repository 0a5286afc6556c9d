"""Gradients of a convolution with stride 1 and padding that keeps the size: the fastest we know.

All tensors are channels last in memory: grad (N, out, H, W), x (N, in, H, W), weight (out, in, k,
k).
"""

import torch
from torch import Tensor

MANY_PIXELS = 4096
"""From here on, in float32, a CPU's convolution kernels sum over pixels faster than BLAS."""


def data_gradient(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """The gradient of x."""
    return _backward(grad, x, weight, (True, False, False))[0]


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """The gradient of weight: Σ over pixels p of grad[p] x[p + tap].

    As many additions whichever of the two is moved by the tap, but the kernels of a CPU are a third
    faster with the wider one in the place of `grad`; a 1x1 kernel's may be one matrix product.
    """
    if weight.shape[-1] == 1 and not _suits_kernels(grad):
        return (pixels(grad).T @ pixels(x)).view_as(weight)
    if grad.shape[1] >= x.shape[1]:
        return _backward(grad, x, weight, (False, True, False))[1]
    # Σ over q of x[q] grad[q − tap]: the same with the roles exchanged and the taps turned around.
    swapped = weight.transpose(0, 1).contiguous(memory_format=torch.channels_last)
    turned = _backward(x, grad, swapped, (False, True, False))[1]
    return turned.flip(2, 3).transpose(0, 1)


def _suits_kernels(grad: Tensor) -> bool:
    """Whether convolution kernels do a 1x1's gradient better than one matrix product."""
    return grad.dtype == torch.float32 and grad[:, 0].numel() >= MANY_PIXELS


def pixels(x: Tensor) -> Tensor:
    """The channels of every pixel of every image: (N·H·W, C)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _backward(
    grad: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    padding, ones, zeros = [weight.shape[-1] // 2] * 2, [1, 1], [0, 0]
    return torch.ops.aten.convolution_backward(
        grad, x, weight, None, ones, padding, ones, False, zeros, 1, wanted
    )
