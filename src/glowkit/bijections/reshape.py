"""The same numbers in another shape: squeeze, and row-major reshape."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.core import Bijection, constant_ladj


class Squeeze(Bijection):
    """Turn every block of f x f pixels into f² channels; ladj = 0. f is 2, unless it is given.

    y[:, f²c + f·dy + dx, i, j] = x[:, c, f·i + dy, f·j + dx]. Shapes: (N, C, H, W) to
    (N, f²C, H/f, W/f); H and W divisible by f. Source: RealNVP, section 3.6; channel order of
    openai/glow.

    >>> import torch
    >>> Squeeze()(torch.arange(4.0).reshape(1, 1, 2, 2))[0].flatten().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """

    reads_context = False

    def __init__(self, factor: int = 2) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return F.pixel_unshuffle(x, self.factor), constant_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return F.pixel_shuffle(y, self.factor), constant_ladj(y)

    def extra_repr(self) -> str:
        return f"{self.factor}x{self.factor}"


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
        return x.reshape(x.shape[0], *self.after), constant_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y.reshape(y.shape[0], *self.before), constant_ladj(y)

    def extra_repr(self) -> str:
        return f"{self.before} -> {self.after}"


class Permute(Bijection):
    """Reorder the channels: y[:, i] = x[:, indices[i]]; ladj = 0.

    Shapes: (N, C, ...). The indices are saved with the model. Source: Glow, section 3.2, the
    alternatives to the 1x1 convolution.

    Raises:
        ValueError: when the indices are not a permutation.

    >>> Permute([2, 0, 1])(torch.tensor([[10, 20, 30]]))[0].tolist()
    [[30, 10, 20]]
    """

    reads_context = False

    indices: Tensor
    indices_inverse: Tensor

    def __init__(self, indices: list[int]) -> None:
        super().__init__()
        if sorted(indices) != list(range(len(indices))):
            raise ValueError(f"not a permutation of 0..{len(indices) - 1}: {indices}")
        self.register_buffer("indices", torch.tensor(indices))
        self.register_buffer("indices_inverse", torch.tensor(indices).argsort())

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.index_select(1, self.indices), constant_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y.index_select(1, self.indices_inverse), constant_ladj(y)

    def extra_repr(self) -> str:
        return f"{len(self.indices)} channels"


def reverse(channels: int) -> Permute:
    """The permutation that reverses the channels (NICE, RealNVP)."""
    return Permute(list(range(channels))[::-1])


def shuffle(channels: int) -> Permute:
    """A permutation drawn at random once, from torch's global generator."""
    return Permute(torch.randperm(channels, device="cpu").tolist())


def even_first(channels: int) -> Permute:
    """Even indices, then odd ones: neighbouring pixels of a flat image part company (NICE)."""
    return Permute([*range(0, channels, 2), *range(1, channels, 2)])


def swap_halves(channels: int) -> Permute:
    """The second half of an even number of channels, then the first."""
    half = channels // 2
    return Permute([*range(half, channels), *range(half)])


def diagonals_first(channels: int) -> Permute:
    """Of a squeezed image's 4C channels, those of pixels (0, 0) and (1, 1), then (0, 1) and (1, 0).

    After `Squeeze`, each half holds the cells of one colour of a checkerboard: RealNVP's ordered
    squeeze (figure 3 b), which the reference makes by unsqueezing and squeezing anew.
    """
    return Permute([4 * c + pixel for pixel in (0, 3, 1, 2) for c in range(channels // 4)])


def block_major(channels: int) -> Permute:
    """Of a squeezed image's 4C channels, the C of pixel (0, 0), then (0, 1), (1, 0) and (1, 1).

    `Squeeze` and this are TensorFlow's `space_to_depth`: halves are then the upper and lower rows.
    """
    return Permute([4 * c + pixel for pixel in range(4) for c in range(channels // 4)])
