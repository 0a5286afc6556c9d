"""Halves: two bijections side by side."""

import torch
from torch import Tensor

from glowkit.core import Bijection


class Halves(Bijection):
    """Map the first half of the channels by one bijection and the second by another.

    y = [f(x₁), g(x₂)]; inverse: x = [f⁻¹(y₁), g⁻¹(y₂)]; ladj is the sum of theirs. Shapes:
    (N, C, ...), C even. Cost: theirs. With a `Conv1x1` for each it is the pointwise layer of
    aravindsrinivas/flowpp, which never mixes the halves.

    >>> from glowkit.bijections import Shift
    >>> Halves(Shift(1.0), Shift(2.0))(torch.zeros(1, 2))[0].tolist()
    [[1.0, 2.0]]
    """

    def __init__(self, first: Bijection, second: Bijection) -> None:
        super().__init__()
        self.first = first
        self.second = second

    @property
    def reads_context(self) -> bool:
        return self.first.reads_context or self.second.reads_context

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x1, x2 = x.chunk(2, dim=1)
        y1, ladj1 = self.first(x1, context)
        y2, ladj2 = self.second(x2, context)
        return torch.cat([y1, y2], dim=1), ladj1 + ladj2

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y1, y2 = y.chunk(2, dim=1)
        x1, ladj1 = self.first.inverse(y1, context)
        x2, ladj2 = self.second.inverse(y2, context)
        return torch.cat([x1, x2], dim=1), ladj1 + ladj2
