"""A case: the architecture that every subject is built to, and the work it is given."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CHANNELS = 3
PIXEL_LEVELS = 256


@dataclass(frozen=True)
class Conditioner:
    """The network of one coupling: its channels in and out, and the side of its feature maps."""

    inputs: int
    outputs: int
    side: int


@dataclass(frozen=True)
class Case:
    """A Glow of `levels` levels (L) with `steps` steps (K) each, and a batch of square images."""

    size: int = 32
    levels: int = 3
    steps: int = 8
    width: int = 64
    batch: int = 64
    precision: str = "float32"

    def channels(self) -> list[int]:
        """Channels of the flow's steps at each level, after its squeeze."""
        return [CHANNELS * 2 ** (level + 2) for level in range(self.levels)]

    def conditioners(self) -> Iterator[Conditioner]:
        """The conditioners of the affine couplings, in the order an image meets them."""
        for level, channels in enumerate(self.channels()):
            for _ in range(self.steps):
                yield Conditioner(channels // 2, channels, self.size // 2 ** (level + 1))

    def images(self) -> Tensor:
        """Noisy images in [0, 1), so that no subject is timed while it dequantizes."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.batch, CHANNELS, self.size, self.size)
        levels = torch.randint(0, PIXEL_LEVELS, shape, generator=generator)
        return (levels + torch.rand(shape, generator=generator)) / PIXEL_LEVELS

    def forward_operations(self) -> int:
        """Multiplications and additions of the conditioners' convolutions in one forward pass."""
        w = self.width
        return sum(
            2 * self.batch * c.side**2 * (9 * c.inputs * w + w * w + 9 * w * c.outputs)
            for c in self.conditioners()
        )
