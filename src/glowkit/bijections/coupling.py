"""Coupling: one part of the channels decides how the other part is changed."""

import torch
from torch import Tensor, nn

from glowkit.bijections.transformers import Transformer
from glowkit.core import Conditioned


class Coupling(Conditioned):
    """Keep the first channels and transform the rest given them: y = [x₁, T(x₂; net(x₁))].

    inverse: x = [y₁, T⁻¹(y₂; net(y₁))]; ladj is the transformer's. Shapes: (N, C, ...); the
    context, if the net uses one, is handed to it. Cost: the net's, the same in both directions.
    Source: NICE, section 3.1; RealNVP, section 3.2.

    Args:
        kept: how many channels condition and stay unchanged; openai/glow keeps the first half.
        net: the conditioner, called as `net(x1, context)`.
        transformer: the elementwise map, `Additive()` or `Affine()`, ...

    >>> from glowkit.bijections import Affine
    >>> from glowkit.nets import MLP
    >>> layer = Coupling(1, MLP(1, 2, width=8), Affine())
    >>> y, ladj = layer(torch.tensor([[1.0, 1.0]]))   # a fresh net gives zeros: s = σ(2)
    >>> round(y[0, 1].item(), 4), round(ladj.item(), 4)
    (0.8808, -0.1269)
    """

    def __init__(self, kept: int, net: nn.Module, transformer: Transformer) -> None:
        super().__init__()
        self.kept = kept
        self.net = net
        self.transformer = transformer

    @property
    def reads_context(self) -> bool:
        return getattr(self.net, "reads_context", True)

    def condition(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(x[:, : self.kept], context)

    def forward_given(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        x1, x2 = self._halves(x)
        y2, ladj = self.transformer(x2, h)
        return torch.cat([x1, y2], dim=1), ladj

    def inverse_given(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y1, y2 = self._halves(y)
        x2, ladj = self.transformer.inverse(y2, h)
        return torch.cat([y1, x2], dim=1), ladj

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # One node, whose gradient is one `cat`; two slices would each fill a tensor of x's size.
        x1, x2 = x.split([self.kept, x.shape[1] - self.kept], dim=1)
        return x1, x2
