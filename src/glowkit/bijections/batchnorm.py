"""Batch norm as a bijection."""

import torch
from torch import Tensor

from glowkit.core import Bijection, GlowkitError, constant_ladj
from glowkit.nets.batchnorm import RunningMoments, squared_scale


class MaskedBatchNorm(Bijection):
    """Normalise each channel where the mask is 1: y = (x − μ) / √(v + ε); the rest stays.

    inverse: x = y · √(v + ε) + μ; ladj = −½ Σ ln(v + ε) over the elements under the mask. μ and v
    are moments over the batch and the whole grid, with zeros where the mask is 0, as in the
    reference: on half a grid v is about half the variance. Shapes: (N, C, H, W),
    or (N, C) for vectors. Cost: two passes.

    In training μ and v are the batch's, gradients flow through them, and ladj is that of the map
    with both held fixed. Evaluation and the inverse use running moments: each example by itself.
    A channel that is constant up to rounding is shifted and not scaled. A training batch with fewer
    than two values a channel, such as one vector, is normalised by the running moments: a batch's
    own would map every such example to zero, at any price in ladj.

    forward changes no state: the running moments follow training inside
    `glowkit.nets.following_moments`. Source: RealNVP, section 3.7; tensorflow/models real_nvp.

    Args:
        channels: C.
        mask: 1 where x is normalised, of a shape that broadcasts to (C, H, W), or (C,).

    Raises:
        GlowkitError: by the inverse in training, which does not know the batch it would undo.
    """

    reads_context = False

    mask: Tensor
    not_rebuilt_in_training = "normalises by its batch"

    def __init__(self, channels: int, mask: Tensor) -> None:
        super().__init__()
        self.moments = RunningMoments(channels)
        self.register_buffer("mask", mask.float().clone())
        self.seen = float(mask.float().flatten(-2).mean(-1).max()) if mask.dim() > 1 else 1.0

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean, variance = self.moments(x * self.mask, self.seen)
        square = squared_scale(mean, variance)
        shape = (-1, *[1] * (x.dim() - 2))
        y = (x - mean.view(shape)) / square.sqrt().view(shape)
        return torch.where(self.mask > 0, y, x), self._ladj(x, square)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.training:
            raise GlowkitError(
                "batch norm cannot be inverted in training mode, where it depends on the batch;"
                " call model.eval() before sampling or decoding"
            )
        mean, variance = self.moments(y * self.mask)
        shape = (-1, *[1] * (y.dim() - 2))
        square = squared_scale(mean, variance)
        x = y * square.sqrt().view(shape) + mean.view(shape)
        return torch.where(self.mask > 0, x, y), -self._ladj(y, square)

    def _ladj(self, x: Tensor, square: Tensor) -> Tensor:
        cells = self.mask.expand(x.shape[1:]).reshape(len(square), -1).sum(1)
        return constant_ladj(x, -0.5 * (cells * square.log()).sum())
