"""Fixed permutations of the channels."""

import torch
from torch import Tensor

from glowkit.core import Bijection, constant_ladj


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
