"""A matrix made of its factors as one node of autograd: tiny nodes cost as much as large ones."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class FromLU(torch.autograd.Function):
    """W = P · L · U, (C, C), and ln |det W|, in float64, from the packed factors of `LUMatrix`.

    packed (C, C) holds strictly lower L, strictly upper U and ln |diagonal of U|; signs (C,) are
    those of that diagonal; W's rows are `permutation` of L · U's. Differentiable once.
    """

    @staticmethod
    def forward(
        ctx: Any, packed: Tensor, permutation: Tensor, signs: Tensor
    ) -> tuple[Tensor, Tensor]:
        lower, upper, log_det = factors(packed, signs)
        ctx.save_for_backward(lower, upper, permutation)
        ctx.dtype = packed.dtype
        return (lower @ upper).index_select(0, permutation), log_det

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, by_log_det: Tensor) -> tuple[Tensor | None, ...]:
        lower, upper, permutation = ctx.saved_tensors
        grad = torch.empty_like(grad).index_copy_(0, permutation, grad)
        by_upper = lower.T @ grad
        by_packed = (grad @ upper.T).tril_(-1).add_(by_upper.triu(1))
        by_packed.diagonal().copy_((by_upper.diagonal() * upper.diagonal()).add_(by_log_det))
        return by_packed.to(ctx.dtype), None, None


def factors(packed: Tensor, signs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """L, U and ln |det U|, in float64."""
    packed = packed.double()
    log_s = packed.diagonal()
    lower, upper = packed.tril(-1), packed.triu(1)
    lower.diagonal().fill_(1)
    upper.diagonal().copy_(log_s.exp() * signs)
    return lower, upper, log_s.sum()
