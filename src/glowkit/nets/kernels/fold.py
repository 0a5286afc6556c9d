"""Actnorm and a factored 1x1 convolution as one matrix, by a compiled kernel."""

import ctypes
from collections.abc import Sequence
from ctypes import Structure, c_double, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from glowkit.nets.fast import Kernel
from glowkit.nets.kernels.library import whatever_switched
from glowkit.nets.kernels.step import at, contiguous, fields, laid_out, memory


class _Fold(Structure):
    _fields_ = [
        ("channels", c_int64),
        *fields(c_void_p, "packed signs bias logs permutation scratch"),
        *fields(c_void_p, "matrix shift log_det by_matrix by_shift"),
        ("by_log_det", c_double),
        *fields(c_void_p, "by_packed by_bias by_logs"),
    ]


class FoldKernel(Kernel):
    """Actnorm and a factored matrix as one: A = P L U diag(s), A b, and ln |det A|.

    Call `of(packed, permutation, signs, bias, logs)`, see `glowkit.bijections.LUMatrix`; A and the
    shift are float32, the log-det float64. To write one: implement `plain`. Cost: 2 C³ products in
    float64, for few channels.
    """

    @staticmethod
    def quick(*inputs: Any) -> tuple[Any, Sequence[Tensor]]:
        packed, permutation, signs, bias, logs = contiguous(*inputs)
        fold, scratch = _fold(packed, permutation, signs, bias, logs)
        matrix, shift = torch.empty_like(packed), torch.empty_like(bias)
        log_det = memory(1, torch.float64)[0]
        fold.matrix, fold.shift, fold.log_det = at(matrix), at(shift), at(log_det)
        whatever_switched().glow_fold(ctypes.byref(fold))
        del scratch
        return (matrix, shift, log_det), ()

    @staticmethod
    def gradients(
        inputs: Sequence[Any], kept: Sequence[Tensor], *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        packed, permutation, signs, bias, logs = contiguous(*inputs)
        fold, scratch = _fold(packed, permutation, signs, bias, logs, checked=True)
        by_matrix, by_shift, by_log_det = map(laid_out, grads)
        fold.by_matrix, fold.by_shift = at(by_matrix), at(by_shift)
        fold.by_log_det = by_log_det.item()
        found = torch.empty_like(packed), torch.empty_like(bias), torch.empty_like(logs)
        fold.by_packed, fold.by_bias, fold.by_logs = map(at, found)
        whatever_switched().glow_fold_backward(ctypes.byref(fold))
        del scratch
        return found[0], None, None, found[1], found[2]


def _fold(
    packed: Tensor,
    permutation: Tensor,
    signs: Tensor,
    bias: Tensor,
    logs: Tensor,
    checked: bool = False,
) -> tuple[_Fold, Tensor]:
    n, given = packed.shape[-1:].numel(), (packed, signs, bias, logs, permutation)
    if not checked:
        shapes = [t.shape for t in given]
        kinds = [t.dtype if t.is_cpu else t.device for t in given]
        if shapes != [(n, n), *[(n,)] * 4] or kinds != [*[torch.float32] * 4, torch.int64]:
            raise ValueError(f"factors {shapes} of {kinds} do not fit")
        if sorted(permutation.tolist()) != list(range(n)):
            raise ValueError(f"this is no permutation: {permutation.tolist()}")
    scratch = memory(6 * n * n + 2 * n, torch.float64)
    return _Fold(n, *map(at, (*given, scratch))), scratch
