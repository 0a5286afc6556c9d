"""Halves of an image, gathered into channels: stripes, or the colours of a checkerboard."""

import torch
from torch import Tensor

from glowkit.core import Bijection, constant_ladj


class Stripes(Bijection):
    """Even columns into the first half of the channels, odd columns into the second; ladj = 0.

    y[:, k·C + c, i, j] = x[:, c, i, 2j + k], k = 0, 1. A coupling that keeps half of the channels
    then changes one half of the columns given the other. Shapes: (N, C, H, W) to (N, 2C, H, W/2);
    W even. Source: aravindsrinivas/flowpp, `CheckerboardSplit`, which pairs columns whatever its
    name says; `Checkerboard` has the cells of Flow++'s paper.

    >>> Stripes()(torch.arange(4.0).reshape(1, 1, 1, 4))[0].tolist()
    [[[[0.0, 2.0]], [[1.0, 3.0]]]]
    """

    reads_context = False

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.cat([x[..., 0::2], x[..., 1::2]], dim=1), constant_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.stack(y.chunk(2, dim=1), dim=-1).flatten(-2), constant_ladj(y)


class Checkerboard(Bijection):
    """Cells with i + j even into the first half of the channels, the others into the second.

    y[:, k·C + c, i, j] = x[:, c, i, 2j + (k + i) mod 2], k = 0, 1; ladj = 0: `Stripes` with the
    halves of odd rows exchanged. Shapes: (N, C, H, W) to (N, 2C, H, W/2); W even. Source: RealNVP,
    section 3.4; the form in which Flow++ couplings take it is ours.

    >>> Checkerboard()(torch.arange(4.0).reshape(1, 1, 2, 2))[0].tolist()
    [[[[0.0], [3.0]], [[1.0], [2.0]]]]
    """

    reads_context = False

    def __init__(self) -> None:
        super().__init__()
        self.stripes = Stripes()

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, ladj = self.stripes(x)
        return _exchange_odd_rows(y), ladj

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.stripes.inverse(_exchange_odd_rows(y))


def _exchange_odd_rows(y: Tensor) -> Tensor:
    odd = torch.arange(y.shape[2], device=y.device)[:, None] % 2 == 1
    return torch.where(odd, y.roll(y.shape[1] // 2, dims=1), y)
