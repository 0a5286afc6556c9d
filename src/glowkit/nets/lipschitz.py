"""Networks whose Lipschitz constant is bounded, for residual flows."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glowkit.core.bijection import whole
from glowkit.core.freezing import made_once
from glowkit.nets.following import FollowsWeights
from glowkit.nets.linearized import LinearizedNet, Product, Swish

STEEPEST_SWISH = 1.1
"""Above the steepest slope of a swish, 1.09984, which no β changes."""


FOLLOWING_STEPS, MOST_STEPS = 5, 200
SETTLED = 1e-5
MARGIN = 1.001


class SpectralLinear(nn.Module):
    """A linear layer whose spectral norm is at most `bound`: Ŵ x + b, Ŵ = W · min(1, bound / σ(W)).

    σ(W) is the largest singular value, by a singular value decomposition: exact up to rounding,
    where a power iteration would err from below, and the map might not contract. Gradients flow
    through it. Shapes: (N, in) to (N, out). Cost: O(in · out · min(in, out)) for the weight,
    whatever N is; once within `glowkit.frozen`. Source: Miyato et al. 2018, with Behrmann et al.
    2019, section 2.1, who scale down alone.

    >>> layer = SpectralLinear(3, 3, bound=0.5)
    >>> _ = nn.init.eye_(layer.weight)
    >>> layer.scaled().diag().tolist()
    [0.5, 0.5, 0.5]
    """

    def __init__(self, in_features: int, out_features: int, bound: float) -> None:
        super().__init__()
        self.bound = bound
        plain = nn.Linear(in_features, out_features)
        self.weight, self.bias = plain.weight, plain.bias
        # All singular values near the bound: random entries would leave most far below it, and
        # what goes through several such layers, and its gradient, would all but vanish. Not all
        # equal, since second derivatives of a largest one need it to be the only one.
        random = 0.1 * self.weight.detach()
        nn.init.orthogonal_(self.weight, bound)
        with torch.no_grad():
            self.weight += random

    @made_once
    def scaled(self) -> Tensor:
        """Ŵ, (out, in)."""
        return self.weight * (self.bound / spectral_norm(self.weight).clamp_min(self.bound))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.scaled(), self.bias)

    def linearized(self, x: Tensor) -> tuple[Tensor, Product]:
        weight = self.scaled()
        return F.linear(x, weight, self.bias), lambda v: F.linear(v, weight)

    def extra_repr(self) -> str:
        out, size = self.weight.shape
        return f"{size}, {out}, bound={self.bound:.4g}"


class SpectralConv2d(FollowsWeights):
    """A convolution with padding whose operator norm is `bound` or less, on images of one size.

    Ŵ = W · min(1, bound / σ), where σ is the norm of x -> W * x on (in, *size), by power iteration:
    1.001 |W * v| for a unit image v, a buffer. In training v moves 5 iterations a step, inside
    `following`, and nowhere else; in evaluation iterations go on from there, until one changes
    |W * v| by less than 1e-5, or 200 are made, and are forgotten. Gradients flow through |W * v|,
    not v, which makes second ones approximate. A power iteration errs from below: in training σ is
    a little behind. Shapes: (N, in, H, W) to
    (N, out, H, W). Cost beside the convolution: up to 400 of one image; once within
    `glowkit.frozen`. Source: Gouk et al. 2021; Chen et al. 2019, appendix D.
    """

    image: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        size: tuple[int, int],
        bound: float,
    ) -> None:
        super().__init__()
        self.bound = bound
        self.padding = kernel_size // 2
        plain = nn.Conv2d(in_channels, out_channels, kernel_size)
        assert plain.bias is not None
        self.weight, self.bias = plain.weight, plain.bias
        self.register_buffer("image", _unit(torch.randn(1, in_channels, *size)))

    @torch.no_grad()
    def follow_weights(self) -> None:
        for _ in range(FOLLOWING_STEPS):
            self.image.copy_(self._iterated(self.image))

    @made_once
    def scaled(self) -> Tensor:
        """Ŵ, (out, in, k, k)."""
        image = self.image.clone() if self.training else self._settled()
        norm = MARGIN * self._convolved(image, self.weight).norm()
        return self.weight * (self.bound / norm.clamp_min(self.bound))

    @torch.no_grad()
    def _settled(self) -> Tensor:
        image, norm = self.image, self._convolved(self.image, self.weight).norm()
        for _ in range(MOST_STEPS):
            image = self._iterated(image)
            before, norm = norm, self._convolved(image, self.weight).norm()
            if not whole((norm - before).abs() > SETTLED * norm).any():
                break
        return image

    def _iterated(self, image: Tensor) -> Tensor:
        weight = self.weight.detach()
        there = self._convolved(image, weight)
        return _unit(F.conv_transpose2d(there, weight, padding=self.padding)).detach()

    def _convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, padding=self.padding)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.scaled(), self.bias, padding=self.padding)

    def linearized(self, x: Tensor) -> tuple[Tensor, Product]:
        weight = self.scaled()

        def product(v: Tensor) -> Tensor:
            return self._convolved(v.flatten(0, 1), weight).unflatten(0, v.shape[:2])

        return F.conv2d(x, weight, self.bias, padding=self.padding), product

    def extra_repr(self) -> str:
        out, size, kernel, _ = self.weight.shape
        return f"{size}, {out}, kernel_size={kernel}, bound={self.bound:.4g}"


def _unit(x: Tensor) -> Tensor:
    # An image that a weight of zeros has made zero stays so, and its norm is 0, which is right.
    return x / x.norm().clamp_min(torch.finfo(x.dtype).tiny)


def spectral_norm(matrix: Tensor) -> Tensor:
    """The largest singular value of a matrix, a scalar.

    LAPACK refuses what is not finite. Here such entries count as 0: they are in the scaled weight
    itself, and are seen there.

    >>> spectral_norm(torch.tensor([[3.0, 0.0], [0.0, -4.0]])).item()
    4.0
    """
    return torch.linalg.matrix_norm(torch.where(matrix.isfinite(), matrix, 0.0), 2)


class LipSwish(Swish):
    """x σ(βx) / 1.1, elementwise, whose slope is at most 1, with one learned β = softplus(b).

    Smooth, and its slope does not vanish for one sign, as ReLU's does. Shapes: any. Source: Chen et
    al. 2019, section 3.3. Departure: through plain autograd, so that it is right at 0 too.
    """

    gain = 1 / STEEPEST_SWISH


def lipschitz_mlp(
    size: int, width: int, depth: int, bound: float, context_features: int = 0
) -> LinearizedNet:
    """An MLP R^size -> R^size with |g(x) − g(x')| ≤ bound · |x − x'|, `depth` hidden layers.

    Each of its linear layers is at most bound^(1/(depth + 1)), and each LipSwish at most 1. A
    context is added to what the first layer gives, through a layer of its own that nothing bounds:
    the bound is one in x alone. Shapes: (N, size), context (N, context_features), to (N, size).

    >>> net = lipschitz_mlp(2, width=8, depth=2, bound=0.9)
    >>> a, b = torch.randn(2, 5, 2)
    >>> bool(((net(a) - net(b)).norm(dim=1) <= 0.9 * (a - b).norm(dim=1)).all())
    True
    """
    each = bound ** (1 / (depth + 1))
    layers: list[nn.Module] = []
    for a, b in pairwise([size, *[width] * depth]):
        layers += [SpectralLinear(a, b, each), LipSwish()]
    layers.append(SpectralLinear(width if depth else size, size, each))
    first = width if depth else size
    given = nn.Linear(context_features, first, bias=False) if context_features else None
    return LinearizedNet(layers, given)


def lipschitz_cnn(channels: int, width: int, size: tuple[int, int], bound: float) -> LinearizedNet:
    """Convolutions of 3x3, 1x1 and 3x3 with LipSwish between: |g(x) − g(x')| ≤ bound · |x − x'|.

    Each convolution is at most bound^(1/3), on images of this size. Shapes: (N, channels, *size) to
    the same. Source: Chen et al. 2019.

    >>> net = lipschitz_cnn(1, 4, (4, 4), bound=0.9).eval()
    >>> a, b = torch.randn(2, 5, 1, 4, 4)
    >>> apart = (net(a) - net(b)).flatten(1).norm(dim=1)
    >>> bool((apart <= 0.9 * (a - b).flatten(1).norm(dim=1)).all())
    True
    """
    each = bound ** (1 / 3)
    layers = [
        SpectralConv2d(channels, width, 3, size, each),
        LipSwish(),
        SpectralConv2d(width, width, 1, size, each),
        LipSwish(),
        SpectralConv2d(width, channels, 3, size, each),
    ]
    return LinearizedNet(layers)
