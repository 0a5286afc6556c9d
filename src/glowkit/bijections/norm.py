"""An affine map of every dimension, initialised from data."""

import torch
from torch import Tensor, nn

from glowkit.core import Bijection, constant_ladj

SMALLEST_GAIN = 1e-10
EPSILON = 1e-8


class ElementwiseNorm(Bijection):
    """Scale and shift every dimension: y = max(g, 1e-10) · x + b.

    inverse: x = (y − b) / max(g, 1e-10); ladj = Σ ln max(g, 1e-10). Shapes: (N, *shape), and g and
    b are of that shape. `glowkit.initialize` gives every dimension mean 0 and variance 1 over the
    batch: g = 1 / √(v + 1e-8), b = −μ g; without it the layer is the identity. Cost: one pass.
    Source: aravindsrinivas/flowpp, `Norm`.

    >>> layer = ElementwiseNorm((1,))
    >>> layer.initialize_from(torch.tensor([[1.0], [3.0]]))
    >>> layer(torch.tensor([[1.0], [3.0]]))[0].tolist()
    [[-1.0], [1.0]]
    """

    reads_context = False

    initialized: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize_from(self, x: Tensor, *_: Tensor) -> None:
        variance, mean = torch.var_mean(x, dim=0, correction=0)
        self.gain.copy_((variance + EPSILON).rsqrt())
        self.bias.copy_(-mean * self.gain)
        self.initialized.fill_(True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        gain = self.gain.clamp_min(SMALLEST_GAIN)
        return torch.addcmul(self.bias, x, gain), constant_ladj(x, gain.log().sum())

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        gain = self.gain.clamp_min(SMALLEST_GAIN)
        return (y - self.bias) / gain, constant_ladj(y, -gain.log().sum())
