"""The conditioner as users of the peers write it."""

from torch import Tensor, nn

from glowkit.nets.fast import PRECISIONS, computing_in


class InPrecision(nn.Module):
    """Run a network in a precision and hand its output back in the flow's, as glowkit does."""

    def __init__(self, net: nn.Module, precision: str) -> None:
        super().__init__()
        self.net = net
        self.dtype = PRECISIONS[precision]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        with computing_in(self.dtype, x.device):
            return self.net(x).to(x.dtype)


def plain_net(inputs: int, outputs: int, width: int, precision: str) -> nn.Module:
    """conv3x3 → ReLU → conv1x1 → ReLU → conv3x3 with biases: Glow's without border and actnorm.

    Cheaper than Glow's own, which favours the peers. As in Glow, the last convolution starts at 0.
    """
    last = nn.Conv2d(width, outputs, 3, padding=1)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    layers = (
        nn.Conv2d(inputs, width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 1),
        nn.ReLU(inplace=True),
        last,
    )
    return InPrecision(nn.Sequential(*layers), precision)
