"""Networks whose Lipschitz constant is bounded, for residual flows."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glowkit.core.freezing import made_once
from glowkit.nets.linearized import LinearizedNet, Product, Swish

STEEPEST_SWISH = 1.1
"""Above the steepest slope of a swish, 1.09984, which no β changes."""


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
        # All singular values at the bound: random entries would leave most far below it, and
        # what goes through several such layers, and its gradient, would all but vanish.
        nn.init.orthogonal_(self.weight, bound)

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
