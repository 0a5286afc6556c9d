"""A multilayer perceptron whose outputs see only earlier inputs."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glowkit.core.freezing import made_once


class MaskedLinear(nn.Linear):
    """A linear layer with some weights held at zero: y = (W ⊙ M) x + b.

    Args:
        mask: M, (out_features, in_features), true where a weight counts.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask)

    @made_once
    def masked(self) -> Tensor:
        """W ⊙ M."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.masked(), self.bias)


class MADE(nn.Module):
    """Parameters of each coordinate from the coordinates before it: h_i = net(x_<i, context).

    An MLP, linear → ReLU `depth` times and a linear layer that starts as zero, with weights masked
    by degrees: input i has degree i, from 1 on; hidden units are shared evenly among the degrees
    up to D − 1; a hidden unit sees what has its degree or less, and output i what has less than i.
    A context (N, context_features), appended to the input, has degree 0. Then there are hidden
    units of degree 0 too, which see the context alone: without them the first coordinate could
    depend on it by no more than a linear map, or not at all. Where D = 1 and there is no context,
    h is a constant, the last layer's bias.

    Shapes: (N, features) to (N, features · outputs_per_feature), the parameters of one coordinate
    beside each other, as `Transformer.unpack` wants them. Cost: that of an MLP, masks included.
    Source: Germain et al. 2015, section 3, without its random orders and connectivities.

    >>> made = MADE(3, 1, width=8)
    >>> _ = torch.nn.init.ones_(made.last.weight)
    >>> x = torch.randn(1, 3, requires_grad=True)
    >>> h = made(x)
    >>> (torch.autograd.grad(h[0, 0], x)[0] != 0).any().item()
    False
    """

    def __init__(
        self,
        features: int,
        outputs_per_feature: int,
        width: int,
        depth: int = 2,
        context_features: int = 0,
    ) -> None:
        super().__init__()
        places = torch.arange(1, features + 1)
        lowest = 0 if context_features or features == 1 else 1
        seen = [torch.cat([places, places.new_zeros(context_features)])]
        seen += [_spread(width, lowest, features - 1)] * depth
        layers: list[nn.Module] = []
        for a, b in pairwise(seen):
            layers += [MaskedLinear(b[:, None] >= a), nn.ReLU()]
        outputs = places.repeat_interleave(outputs_per_feature)
        last = MaskedLinear(outputs[:, None] > seen[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)
        self.context_features = context_features

    @property
    def last(self) -> MaskedLinear:
        """The layer that starts as zero."""
        return self.layers[-1]  # type: ignore[return-value]

    @property
    def reads_context(self) -> bool:
        return self.context_features > 0

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.context_features:
            if context is None:
                raise ValueError("this conditioner needs a context and got none")
            x = torch.cat([x, context], dim=1)
        return self.layers(x)


def _spread(width: int, lowest: int, highest: int) -> Tensor:
    """Degrees of hidden units, evenly spread; the highest is there always, so all inputs count.

    So is the lowest, of two units or more: in it alone the first coordinate sees a context.

    >>> _spread(6, 1, 3).tolist(), _spread(2, 1, 4).tolist(), _spread(3, 0, 0).tolist()
    ([1, 1, 2, 2, 3, 3], [1, 4], [0, 0, 0])
    """
    number = highest - lowest + 1
    places = torch.arange(1, width + 1)
    degrees = lowest + (places * number + width - 1) // width - 1
    if width > 1:
        degrees[0] = lowest
    return degrees
