"""Reshape: the same numbers in another shape."""

import math

from torch import Tensor

from glowkit.core import Bijection, constant_ladj


class Reshape(Bijection):
    """Read the numbers of each example in row-major order into another shape; ladj = 0.

    inverse: the same, back. Shapes: (N, *before) to (N, *after). Cost: none, or a copy.

    Raises:
        ValueError: when the shapes do not hold equally many numbers.

    >>> import torch
    >>> Reshape((1, 2, 2), (4,))(torch.arange(4.0).reshape(1, 1, 2, 2))[0].tolist()
    [[0.0, 1.0, 2.0, 3.0]]
    """

    reads_context = False

    def __init__(self, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        super().__init__()
        if math.prod(before) != math.prod(after):
            raise ValueError(f"shapes {before} and {after} do not hold equally many numbers")
        self.before = tuple(before)
        self.after = tuple(after)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.reshape(len(x), *self.after), constant_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y.reshape(len(y), *self.before), constant_ladj(y)
