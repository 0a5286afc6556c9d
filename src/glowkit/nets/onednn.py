"""oneDNN's convolutions with weights in its own layout, as torch's compiler calls them.

torch has no public function for it: a plain convolution puts its weights into that layout every
time, which takes longer than the convolution itself where images are few and small.
"""

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16)


def has_kernels(weight: Tensor) -> bool:
    """Whether oneDNN serves weights of this dtype, on this device."""
    if weight.device.type != "cpu" or weight.dtype not in DTYPES:
        return False
    if not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def pack(weight: Tensor, size: tuple[int, int]) -> Tensor:
    """Weights (out, in, k, k) in the layout that is best for images of one size, (H, W)."""
    padding, ones = [weight.shape[-1] // 2] * 2, [1, 1]
    return torch.ops.mkldnn._reorder_convolution_weight(
        weight, padding, ones, ones, 1, [1, weight.shape[1], *size]
    )


def convolve(x: Tensor, packed: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """The convolution with stride 1 that keeps the size, then "relu" or "none"."""
    padding, ones = [packed.shape[-1] // 2] * 2, [1, 1]
    return torch.ops.mkldnn._convolution_pointwise(
        x, packed, bias, padding, ones, ones, 1, activation, [], ""
    )
