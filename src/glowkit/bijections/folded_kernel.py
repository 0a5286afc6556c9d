"""Actnorm and an invertible matrix on every pixel, as one node of autograd's graph."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glowkit.bijections.linear import mix
from glowkit.nets.kernel import Kernel


class ScaledProduct(Kernel):
    """y = W diag(s) (x + b) for every pixel, s = exp(factor · logs), and Σ ln s in float64.

    Shapes: x (N, C, P), matrix W (C, C) in float64, bias b and logs (C,). What is made of
    parameters is made in float64, the rest in x's dtype.
    """

    @staticmethod
    def plain(
        x: Tensor, matrix: Tensor, bias: Tensor, logs: Tensor, factor: float
    ) -> tuple[Tensor, Tensor]:
        scaled, shift, _, total = fold(matrix, bias, logs, factor)
        return mix(x, scaled, shift), total

    @staticmethod
    def quick(
        x: Tensor, matrix: Tensor, bias: Tensor, logs: Tensor, factor: float
    ) -> tuple[tuple[Tensor, Tensor], Sequence[Tensor]]:
        scaled, shift, scale, total = fold(matrix, bias, logs, factor)
        return (mix(x, scaled, shift), total), (scaled, scale)

    @staticmethod
    def gradients(
        inputs: Sequence[Any], kept: Sequence[Tensor], *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        (x, _, bias, logs, factor), (scaled, scale), (grad, by_total) = inputs, kept, grads
        with torch.autocast(x.device.type, enabled=False):
            by_x = torch.bmm(scaled.T.to(x.dtype).expand(len(x), -1, -1), grad)
            by_scaled = torch.bmm(grad, x.transpose(1, 2)).sum(0).double()
        by_shift = grad.sum((0, 2)).double()
        by_scaled.addr_(by_shift, bias.double())
        by_logs = (by_scaled * scaled).sum(0).add_(by_total).mul_(factor)
        by_bias = (by_shift @ scaled).to(logs.dtype)
        return by_x, by_scaled.mul_(scale), by_bias, by_logs.to(logs.dtype), None


def fold(
    matrix: Tensor, bias: Tensor, logs: Tensor, factor: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W diag(s), W (s ∘ b), s and Σ ln s, in float64."""
    log_scale = logs.double() * factor
    scale = log_scale.exp()
    scaled = matrix * scale
    return scaled, scaled @ bias.double(), scale, log_scale.sum()
