"""Invertible 1x1 convolution: a learned linear mix of the channels."""

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.bijections.matrix import InvertibleMatrix
from glowkit.core import Bijection, pixelwise_ladj


class Conv1x1(Bijection):
    """Multiply every pixel's channels by one invertible matrix: y = W x.

    inverse: x = W⁻¹ y; ladj = pixels · ln |det W|. Shapes: (N, C, H, W), or (N, C) for vectors.
    Cost: C² multiplications a pixel. Source: Glow, section 3.2.

    Args:
        matrix: how W is parametrised: `PlainMatrix(C)` or `LUMatrix(C)`.

    >>> from glowkit.bijections import LUMatrix
    >>> layer, x = Conv1x1(LUMatrix(3)), torch.randn(2, 3, 4, 4)
    >>> torch.allclose(layer.inverse(layer(x)[0])[0], x, atol=1e-5)
    True
    """

    reads_context = False

    def __init__(self, matrix: InvertibleMatrix) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        matrix, log_det = self.matrix.matrix_and_log_det()
        return mix(x, matrix), pixelwise_ladj(x, log_det)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        inverse, log_det = self.matrix.inverse_and_log_det()
        return mix(y, inverse), -pixelwise_ladj(y, log_det)


def mix(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """matrix · x + bias for every pixel, in x's dtype, under autocast too: it is to be undone.

    A product a batch, whatever the layout; for the few channels of a flow it takes a third of a
    convolution's time on a CPU.
    """
    matrix = matrix.to(x.dtype)
    bias = x.new_zeros(len(matrix)) if bias is None else bias.to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        if x.dim() == 2:
            return F.linear(x, matrix, bias)
        pixels = x.flatten(2)
        return torch.baddbmm(bias[:, None], matrix.expand(len(x), -1, -1), pixels).view(x.shape)
