"""Glow's affine map of a coupling as one node of autograd's graph."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.nets.kernel import Kernel

CENTRE = 2.0
"""openai/glow adds it to the raw scale, so that a fresh coupling does not scale by half."""


class SigmoidAffine(Kernel):
    """y = (x + t) · s with s = σ(r + 2), and ln s; see `Affine`.

    Shapes: x (N, C, ...), groups (N, C, 2, ...) with t and r; both results are of x's shape.
    With g and l the gradients of y and of ln s, that of x and t is g · s, and that of r is
    (1 − s) · (g · y + l). Cost: 5 passes forward and 4 backward.
    """

    @staticmethod
    def plain(x: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = groups[:, :, 0], groups[:, :, 1] + CENTRE
        return (x + shift) * raw.sigmoid(), F.logsigmoid(raw)

    @staticmethod
    def quick(x: Tensor, groups: Tensor) -> tuple[tuple[Tensor, Tensor], Sequence[Tensor]]:
        shift, raw = groups[:, :, 0], groups[:, :, 1] + CENTRE
        log_scale = F.logsigmoid(raw)
        scale = raw.sigmoid_()
        y = (x + shift).mul_(scale)
        return (y, log_scale), (y, scale)

    @staticmethod
    def gradients(
        inputs: Sequence[Tensor], kept: Sequence[Tensor], *grads: Tensor
    ) -> tuple[Tensor, Tensor]:
        (y, scale), (grad, by_log_scale) = kept, grads
        by_groups = y.new_empty(*y.shape[:2], 2, *y.shape[2:])
        by_shift, by_raw = by_groups[:, :, 0], by_groups[:, :, 1]
        torch.mul(grad, scale, out=by_shift)
        torch.addcmul(by_log_scale, grad, y, out=by_raw)
        by_raw.addcmul_(by_raw, scale, value=-1)
        return by_shift, by_groups
