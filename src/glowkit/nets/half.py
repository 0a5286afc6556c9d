"""A network that describes an image at half its resolution."""

from torch import Tensor
from torch.nn import functional as F

from glowkit.nets.convolution import ActnormConv2d
from glowkit.nets.precision import PrecisionNet, computing_in


class HalfSizeNet(PrecisionNet):
    """squeeze → conv3x3 → actnorm → ReLU → conv3x3 → actnorm → ReLU: context for couplings.

    Shapes: (N, C, H, W) to (N, features, H/2, W/2); H and W even. Nothing in it starts as zero,
    since what takes the features does: two zeros in a row would never learn. Cost: 9·features·(4C +
    features) multiplications an output pixel, done in `precision`.
    """

    def __init__(self, in_channels: int, features: int, precision: str = "float32") -> None:
        super().__init__(precision)
        self.first = ActnormConv2d(4 * in_channels, features, kernel=3)
        self.second = ActnormConv2d(features, features, kernel=3)

    def forward(self, image: Tensor) -> Tensor:
        with computing_in(self.dtype, image.device):
            h = self.first(F.pixel_unshuffle(image, 2)).relu_()
            return self.second(h).relu_().to(image.dtype)
