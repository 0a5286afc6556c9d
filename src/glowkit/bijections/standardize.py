"""Standardisation with moments that are data's, not learned: of vectors, and of their contexts."""

import torch
from torch import Tensor, nn

from glowkit.core import Bijection, constant_ladj


class Moments(nn.Module):
    """Of each of some numbers, its mean μ and standard deviation σ: z = (x − μ) / σ, (N, size).

    Nothing is learned. They are those of the examples that `glowkit.initialize` shows, or of all
    that `standardize` does. A number that does not vary there has σ = 1.

    >>> moments = Moments(1)
    >>> moments.initialize_from(torch.tensor([[1.0], [3.0]]))
    >>> moments(torch.tensor([[5.0]])).item()
    3.0
    """

    mean: Tensor
    scale: Tensor
    initialized: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize_from(self, x: Tensor, *_: Tensor) -> None:
        # In float64: the square of a mean far from zero swamps the variance in float32.
        variance, mean = torch.var_mean(x.double(), dim=0, correction=0)
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(variance > 0, variance.sqrt(), 1.0))
        self.initialized.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale

    def extra_repr(self) -> str:
        return f"{len(self.mean)}"


class Standardize(Bijection):
    """Standardise every number with fixed moments: y = (x − μ) / σ.

    inverse: x = σ y + μ; ladj = −Σ ln σ, so that log p is that of x in its own units. Shapes:
    (N, size). Cost: one pass.

    >>> layer = Standardize(1)
    >>> standardize(layer, torch.tensor([[1.0], [3.0], [5.0]]))
    >>> y, ladj = layer(torch.tensor([[3.0]]))
    >>> y.item(), round(ladj.item(), 4)
    (0.0, -0.4904)
    """

    reads_context = False

    def __init__(self, size: int) -> None:
        super().__init__()
        self.moments = Moments(size)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.moments(x), constant_ladj(x, -self.moments.scale.log().sum())

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = y * self.moments.scale + self.moments.mean
        return x, constant_ladj(y, self.moments.scale.log().sum())


class ContextMoments(Moments):
    """Those of a context, which it standardises on its way into a density."""


def standardize(model: nn.Module, x: Tensor, context: Tensor | None = None) -> None:
    """Give all `Standardize` and `ContextMoments` of a model the moments of these examples.

    Shapes: x (N, D), context (N, C). Where `glowkit.initialize` alone would take those of the
    batch that it shows the model, this takes all data, once, before it. As there, moments that a
    model has already stay: others would make another density of one that was trained.
    """
    for module in model.modules():
        if isinstance(module, Standardize) and not module.moments.initialized:
            module.moments.initialize_from(x)
        elif isinstance(module, ContextMoments) and not module.initialized and context is not None:
            module.initialize_from(context)


def scale_of(model: nn.Module) -> Tensor | None:
    """σ of the numbers that a model standardises, (D,); None of one that does not."""
    found = [m.moments.scale for m in model.modules() if isinstance(m, Standardize)]
    return found[0] if found else None
