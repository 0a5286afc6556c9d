"""Conditioners of vectors and points: a multilayer perceptron, and how it sees coordinates."""

from itertools import pairwise

import torch
from torch import Tensor, cat, nn


class MLP(nn.Module):
    """Linear → ReLU, `depth` times, then a linear layer that starts as zero.

    Shapes: (N, in_features) to (N, out_features). A context (N, context_features) is appended to
    the input.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        depth: int = 2,
        context_features: int = 0,
    ) -> None:
        super().__init__()
        widths = [in_features + context_features, *[width] * depth]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        last = nn.Linear(widths[-1], out_features)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)
        self.context_features = context_features

    @property
    def reads_context(self) -> bool:
        return self.context_features > 0

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.context_features:
            if context is None:
                raise ValueError("this conditioner needs a context and got none")
            x = cat([x, context], dim=1)
        return self.layers(x)


class OneBlob(nn.Module):
    """Show each coordinate to a network as K activations, the largest where the coordinate is.

    net(b(x), context), where b_k(x_i) = exp(−½ ((x_i − c_k) K / 2B)²) and c_k is the centre of the
    k-th of K equal parts of [−B, B]. Shapes: (N, C); the network sees (N, C·K). A network then
    learns functions of fine detail sooner. Cost: C·K exponentials an example. Source: Müller et
    al. 2019, section 4.3; the kernel is taken at the centres.

    >>> net = MLP(2, 1, width=1, depth=0)
    >>> _ = nn.init.ones_(net.layers[0].weight)
    >>> round(OneBlob(net, bins=2, bound=1.0)(torch.tensor([[-0.5]])).item(), 4)
    1.6065
    """

    centres: Tensor

    def __init__(self, net: nn.Module, bins: int, bound: float) -> None:
        super().__init__()
        centres = bound * ((2 * torch.arange(bins) + 1) / bins - 1)
        self.register_buffer("centres", centres)
        self.per_bin = bins / (2 * bound)
        self.net = net

    @property
    def reads_context(self) -> bool:
        return getattr(self.net, "reads_context", True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        away = (x.unsqueeze(2) - self.centres) * self.per_bin
        return self.net((-0.5 * away.square()).exp().flatten(1), context)


class Constant(nn.Module):
    """The same learned output for every input, zero at first: what conditions on nothing.

    Shapes: (N, ...) to (N, out_features).
    """

    reads_context = False

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.values.expand(x.shape[0], -1)
