"""Actnorm and an invertible matrix on every pixel, as one node of autograd's graph."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from glowkit.bijections.conv1x1 import mix


class ScaledProduct(torch.autograd.Function):
    """y = W diag(s) (x + b) for every pixel, s = exp(factor · logs), and Σ ln s in float64.

    Shapes: x (N, C, P), matrix W (C, C) in float64, bias b and logs (C,). What is made of
    parameters is made in float64, the rest in x's dtype. Differentiable once.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, matrix: Tensor, bias: Tensor, logs: Tensor, factor: float
    ) -> tuple[Tensor, Tensor]:
        scaled, shift, scale, total = fold(matrix, bias, logs, factor)
        ctx.save_for_backward(x, scaled, scale, bias)
        ctx.factor, ctx.dtype = factor, logs.dtype
        return mix(x, scaled, shift), total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, by_total: Tensor) -> tuple[Tensor | None, ...]:
        x, scaled, scale, bias = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            by_x = torch.bmm(scaled.T.to(x.dtype).expand(len(x), -1, -1), grad)
            by_scaled = torch.bmm(grad, x.transpose(1, 2)).sum(0).double()
        by_shift = grad.sum((0, 2)).double()
        by_scaled.addr_(by_shift, bias.double())
        by_logs = (by_scaled * scaled).sum(0).add_(by_total).mul_(ctx.factor)
        by_bias = (by_shift @ scaled).to(ctx.dtype)
        return by_x, by_scaled.mul_(scale), by_bias, by_logs.to(ctx.dtype), None


def fold(
    matrix: Tensor, bias: Tensor, logs: Tensor, factor: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W diag(s), W (s ∘ b), s and Σ ln s, in float64."""
    log_scale = logs.double() * factor
    scale = log_scale.exp()
    scaled = matrix * scale
    return scaled, scaled @ bias.double(), scale, log_scale.sum()
