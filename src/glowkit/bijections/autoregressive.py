"""Autoregressive flows of vectors: every coordinate transformed given those before it."""

import torch
from torch import Tensor, nn

from glowkit.bijections.coupling import Transformer
from glowkit.core import Bijection


class Autoregressive(Bijection):
    """Transform every coordinate given those before it: y_i = T(x_i; h_i(x_<i, context)).

    forward: one evaluation of the net; ladj = Σ_i ln |∂T/∂x_i|, since the Jacobian is triangular.
    inverse: D evaluations, each of which makes one more coordinate final, x_i = T⁻¹(y_i; h_i); its
    ladj sums theirs. Gradients of both are exact. Rounding errors multiply along the order:
    how well the inverse of a flow of many coordinates does is to be measured, as an evaluation
    does. Shapes: (N, D).

    With an affine T it is MAF's layer; `Inverse(Autoregressive(...))` is IAF's, which samples in
    one evaluation and whose density takes D; with a spline it is NSF's autoregressive one. Source:
    Papamakarios et al. 2017, section 3.1; Kingma et al. 2016, section 3; Durkan et al. 2019,
    section 3. Departure: a fresh affine layer scales by σ(2), as `Affine` does.

    Args:
        net: the conditioner, called as `net(x, context)`, whose output for coordinate i must not
            depend on x_i or later ones: `glowkit.nets.MADE`. Nothing checks that at every call.
        transformer: the elementwise map, the same for all coordinates but for h: `Affine()`,
            `RationalQuadraticSpline(...)`, ...

    >>> from glowkit.bijections import Affine
    >>> from glowkit.nets import MADE
    >>> layer = Autoregressive(MADE(3, 2, width=8), Affine())
    >>> x = torch.tensor([[1.0, 2.0, 3.0]])
    >>> y, ladj = layer(x)
    >>> torch.allclose(layer.inverse(y)[0], x)
    True
    """

    not_rebuilt_in_training = "takes as many evaluations of its network as there are coordinates"

    def __init__(self, net: nn.Module, transformer: Transformer) -> None:
        super().__init__()
        self.net = net
        self.transformer = transformer

    @property
    def reads_context(self) -> bool:
        return getattr(self.net, "reads_context", True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transformer(x, self.net(x, context))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = torch.zeros_like(y)
        ladj = y.new_zeros(y.shape[0])
        for i in range(y.shape[1]):
            # Of coordinate i alone: what is not final yet may overflow, and even where it is not
            # used, its gradient would be zero times infinity.
            h = self.net(x, context).unflatten(1, (y.shape[1], -1))[:, i]
            new, part = self.transformer.inverse(y[:, i : i + 1], h)
            if new.shape[1] != 1:
                raise ValueError("the transformer must be the same for all coordinates but for h")
            x = torch.cat([x[:, :i], new, torch.zeros_like(y[:, i + 1 :])], dim=1)
            ladj = ladj + part
        return x, ladj
