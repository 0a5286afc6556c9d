"""Products of parameters as single nodes of autograd's graph; tiny ones cost as much as large."""

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
        packed64 = packed.double()
        diagonal = packed64.diagonal().exp().mul_(signs)
        lower, upper = packed64.tril(-1), packed64.triu(1)
        lower.diagonal().fill_(1)
        upper.diagonal().copy_(diagonal)
        ctx.save_for_backward(lower, upper, permutation)
        ctx.dtype = packed.dtype
        return (lower @ upper).index_select(0, permutation), packed64.diagonal().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, by_log_det: Tensor) -> tuple[Tensor | None, ...]:
        lower, upper, permutation = ctx.saved_tensors
        grad = torch.empty_like(grad).index_copy_(0, permutation, grad)
        by_upper = lower.T @ grad
        by_packed = (grad @ upper.T).tril_(-1).add_(by_upper.triu(1))
        by_packed.diagonal().copy_((by_upper.diagonal() * upper.diagonal()).add_(by_log_det))
        return by_packed.to(ctx.dtype), None, None


class ScaledProduct(torch.autograd.Function):
    """y = W diag(s) (x + b) for every pixel, s = exp(factor · logs), and Σ ln s in float64.

    Shapes: x (N, C, P), matrix W (C, C) in float64, bias b and logs (C,). What is made of
    parameters is made in float64, the rest in x's dtype. Differentiable once.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, matrix: Tensor, bias: Tensor, logs: Tensor, factor: float
    ) -> tuple[Tensor, Tensor]:
        bias64, log_scale = bias.double(), logs.double() * factor
        scale = log_scale.exp()
        scaled = matrix * scale
        by_pixel = scaled.to(x.dtype)
        shift = (scaled @ bias64).to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):  # it is to be undone
            y = torch.baddbmm(shift[:, None], by_pixel.expand(len(x), -1, -1), x)
        ctx.save_for_backward(x, scaled, scale, bias64)
        ctx.factor, ctx.dtype = factor, logs.dtype
        return y, log_scale.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, by_total: Tensor) -> tuple[Tensor | None, ...]:
        x, scaled, scale, bias = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            by_x = torch.bmm(scaled.T.to(x.dtype).expand(len(x), -1, -1), grad)
            by_scaled = torch.bmm(grad, x.transpose(1, 2)).sum(0).double()
        by_shift = grad.sum((0, 2)).double()
        by_scaled.addr_(by_shift, bias)
        by_logs = (by_scaled * scaled).sum(0).add_(by_total).mul_(ctx.factor)
        by_bias = (by_shift @ scaled).to(ctx.dtype)
        return by_x, by_scaled.mul_(scale), by_bias, by_logs.to(ctx.dtype), None
