"""Networks that give their value together with products of their Jacobian."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Product = Callable[[Tensor], Tensor]
"""v -> J v, of K vectors an example: (N, K, *in) to (N, K, *out)."""


class Linearized(Protocol):
    """A layer that maps x, (N, *in), and says how its Jacobian there multiplies vectors."""

    def linearized(self, x: Tensor) -> tuple[Tensor, Product]:
        """What the layer makes of x, and J of the layer at x."""


def identity_of(x: Tensor) -> Tensor:
    """The D unit vectors of an example of x, (N, ...) of D numbers each, as rows: (D, D)."""
    return torch.eye(x[0].numel(), dtype=x.dtype, device=x.device)


def units_of(x: Tensor) -> Tensor:
    """The same for each example and in its shape, (N, D, ...): what a `Product` multiplies."""
    return identity_of(x).expand(x.shape[0], -1, -1).unflatten(2, x.shape[1:])


def traces(products: Tensor) -> Tensor:
    """tr M of each example, (N,), from the products of M with all units, (N, D, ...)."""
    return products.flatten(2).diagonal(dim1=1, dim2=2).sum(1)


class LinearizedNet(nn.Module):
    """Layers one after the other, with g(x, context) and v -> (∂g/∂x) v in one evaluation.

    forward: g(x, context), (N, ...). `linearized`: the same and a function that multiplies K
    vectors an example by the Jacobian by x, (N, K, ...) to (N, K, ...). What is made of weights and
    of x is made once for all products. Cost of a product: that of K forward passes. Products are
    plain operations on tensors: differentiable to any order, by x, v and parameters.

    Args:
        layers: each with `forward` and `linearized`.
        context: a layer of the context, if any, which is added to what the first layer gives.

    >>> net = LinearizedNet([TangentLinear(2, 3), Swish(), TangentLinear(3, 2)])
    >>> value, product = net.linearized(torch.zeros(5, 2))
    >>> value.shape, product(torch.ones(5, 1, 2)).shape
    (torch.Size([5, 2]), torch.Size([5, 1, 2]))
    """

    def __init__(self, layers: Sequence[nn.Module], context: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.context = context

    @property
    def reads_context(self) -> bool:
        return self.context is not None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number == 0:
                x = self._given(x, context)
        return x

    def linearized(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Product]:
        """g(x, context), and the function v -> (∂g/∂x) v."""
        products: list[Product] = []
        for number, layer in enumerate(self.layers):
            x, product = cast(Linearized, layer).linearized(x)
            products.append(product)
            if number == 0:
                x = self._given(x, context)

        def chained(v: Tensor) -> Tensor:
            for product in products:
                v = product(v)
            return v

        return x, chained

    def _given(self, x: Tensor, context: Tensor | None) -> Tensor:
        if self.context is None:
            return x
        if context is None:
            raise ValueError("this network needs a context and got none")
        return x + self.context(context)


class TangentLinear(nn.Linear):
    """W x + b, (N, in) to (N, out), and W v."""

    def linearized(self, x: Tensor) -> tuple[Tensor, Product]:
        return self(x), lambda v: F.linear(v, self.weight)


START_SHARPNESS = 0.5
"""Of a fresh `Swish`, before its softplus (Chen et al. 2019)."""


class Swish(nn.Module):
    """x σ(βx), elementwise, with one learned β = softplus(b) > 0.

    Its slope, σ + βx σ (1 − σ), lies within (−0.1, 1.1) whatever β is. Shapes: any. Source:
    Ramachandran et al. 2017.
    """

    gain = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(START_SHARPNESS))

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.gain * torch.sigmoid(x * F.softplus(self.sharpness)))

    def linearized(self, x: Tensor) -> tuple[Tensor, Product]:
        scaled = x * F.softplus(self.sharpness)
        gate = torch.sigmoid(scaled)
        share = self.gain * gate
        slope = torch.addcmul(share, scaled, share * (1 - gate)).unsqueeze(1)
        return x * share, lambda v: v * slope


def velocity_mlp(size: int, width: int, depth: int, context_features: int) -> LinearizedNet:
    """An MLP R^size -> R^size of `depth` hidden layers, whose last layer starts as zero.

    It is given `context_features` numbers beside x, time among them, in its first layer.
    """
    widths = [size, *[width] * depth]
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [TangentLinear(a, b), Swish()]
    last = TangentLinear(width, size)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return LinearizedNet([*layers, last], nn.Linear(context_features, width, bias=False))
