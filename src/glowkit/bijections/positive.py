"""Maps of numbers that are positive, or in order, to the whole line, where flows live."""

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.core import Bijection, constant_ladj, sum_per_example


class Softplus(Bijection):
    """From the line to positive numbers: y = ln(1 + e^x), for every value by itself.

    inverse: x = y + ln(1 − e^−y); ladj = Σ ln σ(x) = −Σ softplus(−x). Far from 0 it changes little,
    unlike an exponential, so that large numbers stay as far apart as they were. A y of 0, which no
    x has, is taken as the least positive number of its dtype. Shapes: (N, ...). Cost: one pass.

    `Inverse(Softplus())` comes before a flow of positive numbers: one of the line would give what
    is below 0 a part of its probability, and log p would be too small by that.

    >>> y, ladj = Softplus()(torch.zeros(1, 1))
    >>> round(y.item(), 4), round(ladj.item(), 4)
    (0.6931, -0.6931)
    """

    reads_context = False

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return F.softplus(x, threshold=40), sum_per_example(F.logsigmoid(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y = y.clamp_min(torch.finfo(y.dtype).tiny)
        x = y + (-torch.expm1(-y)).log()
        return x, -sum_per_example(F.logsigmoid(x))


class Gaps(Bijection):
    """Differences between neighbours: y₁ = x₁, y_i = x_i − x_{i−1}, along the channels; ladj = 0.

    inverse: x is the sum of y up to there. Of numbers in order, all but the first are positive.
    Shapes: (N, D, ...). Cost: one pass.

    >>> Gaps()(torch.tensor([[1.0, 3.0, 4.0]]))[0].tolist()
    [[1.0, 2.0, 1.0]]
    """

    reads_context = False

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.cat([x[:, :1], x[:, 1:] - x[:, :-1]], dim=1), constant_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y.cumsum(1), constant_ladj(y)
