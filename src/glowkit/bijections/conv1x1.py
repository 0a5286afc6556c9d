"""Invertible 1x1 convolution: a learned linear mix of the channels."""

from torch import Tensor
from torch.nn import functional as F

from glowkit.bijections.matrix import InvertibleMatrix
from glowkit.core import Bijection, constant_ladj


class Conv1x1(Bijection):
    """Multiply every pixel's channels by one invertible matrix: y = W x.

    inverse: x = W⁻¹ y; ladj = pixels · ln |det W|. Shapes: (N, C, H, W), or (N, C) for vectors.
    Cost: C² multiplications a pixel. Source: Glow, section 3.2.

    Args:
        matrix: how W is parametrised: `PlainMatrix(C)` or `LUMatrix(C)`.

    >>> import torch
    >>> from glowkit.bijections import LUMatrix
    >>> layer, x = Conv1x1(LUMatrix(3)), torch.randn(2, 3, 4, 4)
    >>> torch.allclose(layer.inverse(layer(x)[0])[0], x, atol=1e-5)
    True
    """

    def __init__(self, matrix: InvertibleMatrix) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return _mix(x, self.matrix.matrix()), self._ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return _mix(y, self.matrix.inverse()), -self._ladj(y)

    def _ladj(self, x: Tensor) -> Tensor:
        return constant_ladj(x, x[0, 0].numel() * self.matrix.log_abs_det())


def _mix(x: Tensor, matrix: Tensor) -> Tensor:
    matrix = matrix.to(x.dtype)
    return F.linear(x, matrix) if x.dim() == 2 else F.conv2d(x, matrix[:, :, None, None])
