"""The same numbers in another shape: squeeze, and row-major reshape."""

import math

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

    def extra_repr(self) -> str:
        return f"{self.before} -> {self.after}"
