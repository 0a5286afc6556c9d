"""Squeeze: trade space for channels."""

from torch import Tensor
from torch.nn import functional as F

from glowkit.core import Bijection, constant_ladj


class Squeeze(Bijection):
    """Turn every 2x2 block of pixels into four channels; ladj = 0.

    y[:, 4c + 2·dy + dx, i, j] = x[:, c, 2i + dy, 2j + dx]. Shapes: (N, C, H, W) to
    (N, 4C, H/2, W/2); H and W even. Source: RealNVP, section 3.6; channel order of openai/glow.

    >>> import torch
    >>> Squeeze()(torch.arange(4.0).reshape(1, 1, 2, 2))[0].flatten().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """

    reads_context = False

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return F.pixel_unshuffle(x, 2), constant_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return F.pixel_shuffle(y, 2), constant_ladj(y)
