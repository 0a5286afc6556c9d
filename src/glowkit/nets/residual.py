"""RealNVP's conditioner: a residual network whose every block also feeds the output."""

from torch import Tensor, cat, nn
from torch.nn import functional as F

from glowkit.nets.batchnorm import BatchNorm
from glowkit.nets.normalized import NormedConv2d, UnitConv2d


class SignPairs(nn.Module):
    """Normalise, and give both signs, so that a ReLU loses nothing: [r, −r], r = BN(x).

    Shapes: (N, C, H, W) to (N, 2C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels)
        self.out_channels = 2 * channels

    def forward(self, x: Tensor) -> Tensor:
        r = self.norm(x)
        return cat([r, -r], dim=1)


class MaskedSignPairs(nn.Module):
    """`SignPairs` of a masked input, with the mask: [r, −r, m], r = 2 · BN(x).

    Shapes: (N, C, H, W) to (N, 2C + 1, H, W). The 2 makes up for the half that is masked to zero.

    Args:
        mask: (H, W), 1 where x is seen and 0 where it is masked.
    """

    mask: Tensor

    def __init__(self, channels: int, mask: Tensor) -> None:
        super().__init__()
        self.norm = BatchNorm(channels)
        self.out_channels = 2 * channels + 1
        self.register_buffer("mask", mask.float()[None, None].clone())

    def forward(self, x: Tensor) -> Tensor:
        r = 2 * self.norm(x)
        return cat([r, -r, self.mask.expand(x.shape[0], -1, -1, -1)], dim=1)


class ResidualBlock(nn.Module):
    """x + conv3x3(ReLU(BN(conv3x3(ReLU(BN(x)))))). Shapes: (N, C, H, W) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first_norm = BatchNorm(width)
        self.first = UnitConv2d(width, width, 3)
        self.second_norm = BatchNorm(width)
        self.second = NormedConv2d(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(F.relu(self.first_norm(x)))
        return x + self.second(F.relu(self.second_norm(h)))


class ResidualNet(nn.Module):
    """entry → ReLU → conv3x3 → residual blocks; a 1x1 convolution of each stage is summed up.

    The sum goes through BN → ReLU → conv1x1 to the output. Shapes: (N, C, H, W) to
    (N, out_channels, H, W). A context is not used. Cost: 18·w² multiplications a pixel and block.
    In training, batch norm makes examples depend on each other; in evaluation it does not.
    Source: RealNVP, section 4.1, in the form of tensorflow/models real_nvp, `resnet`.

    Args:
        entry: what makes features of the input: `SignPairs` or `MaskedSignPairs`.
        out_channels: of the output.
        width: channels of the hidden layers.
        blocks: how many residual blocks.
    """

    reads_context = False

    def __init__(
        self, entry: SignPairs | MaskedSignPairs, out_channels: int, width: int, blocks: int
    ) -> None:
        super().__init__()
        self.entry = entry
        self.first = UnitConv2d(entry.out_channels, width, 3)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.skips = nn.ModuleList(NormedConv2d(width, width, 1) for _ in range(blocks + 1))
        self.norm = BatchNorm(width)
        self.last = NormedConv2d(width, out_channels, 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.first(F.relu(self.entry(x)))
        total = self.skips[0](h)
        for block, skip in zip(self.blocks, self.skips[1:], strict=True):
            h = block(h)
            total = total + skip(h)
        return self.last(F.relu(self.norm(total)))
