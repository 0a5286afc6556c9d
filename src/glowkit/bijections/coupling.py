"""Couplings: a part stays, and says how the other is transformed."""

import torch
from torch import Tensor, nn

from glowkit.bijections.transformers import Transformer
from glowkit.core import Bijection, Conditioned, constant_ladj


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
        # One node, whose gradient is one `cat`; two slices would each fill a tensor of x's size.
        x1, x2 = x.split([self.kept, x.shape[1] - self.kept], dim=1)
        y2, ladj = self.transformer(x2, h)
        return torch.cat([x1, y2], dim=1), ladj

    def inverse_given(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y1, y2 = y.split([self.kept, y.shape[1] - self.kept], dim=1)
        x2, ladj = self.transformer.inverse(y2, h)
        return torch.cat([y1, x2], dim=1), ladj

    def extra_repr(self) -> str:
        return f"keeps {self.kept} channels"


class Halves(Bijection):
    """Map the first half of the channels by one bijection and the second by another.

    y = [f(x₁), g(x₂)]; inverse: x = [f⁻¹(y₁), g⁻¹(y₂)]; ladj is the sum of theirs. Shapes:
    (N, C, ...), C even. Cost: theirs. With a `Conv1x1` for each it is the pointwise layer of
    aravindsrinivas/flowpp, which never mixes the halves.

    >>> from glowkit.bijections import Shift
    >>> Halves(Shift(1.0), Shift(2.0))(torch.zeros(1, 2))[0].tolist()
    [[1.0, 2.0]]
    """

    def __init__(self, first: Bijection, second: Bijection) -> None:
        super().__init__()
        self.first = first
        self.second = second

    @property
    def reads_context(self) -> bool:
        return self.first.reads_context or self.second.reads_context

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x1, x2 = x.chunk(2, dim=1)
        y1, ladj1 = self.first(x1, context)
        y2, ladj2 = self.second(x2, context)
        return torch.cat([y1, y2], dim=1), ladj1 + ladj2

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y1, y2 = y.chunk(2, dim=1)
        x1, ladj1 = self.first.inverse(y1, context)
        x2, ladj2 = self.second.inverse(y2, context)
        return torch.cat([x1, x2], dim=1), ladj1 + ladj2


def checkerboard(height: int, width: int, first: int) -> Tensor:
    """(H, W) of 0 and 1: (first + i + j) mod 2, so that `first` = 1 marks the top left cell.

    >>> checkerboard(2, 3, 1).tolist()
    [[1, 0, 1], [0, 1, 0]]
    """
    # On the CPU whatever the default device: models are counted on the meta device.
    i, j = torch.arange(height, device="cpu"), torch.arange(width, device="cpu")
    return (first + i[:, None] + j) % 2


class MaskedCoupling(Conditioned):
    """Keep the cells where the mask is 1 and transform the others given them.

    y = m·x + (1−m)·T(x; net(m·x)); inverse: the same with T⁻¹; ladj is the transformer's, over the
    free cells. These are gathered before they are transformed, so that any transformer serves, and
    none does its work on cells that it may not change. Shapes: (N, C, H, W). Cost: the net's.
    Source: RealNVP, section 3.4.

    Args:
        mask: (H, W), 1 for the cells that condition and stay unchanged, 0 for the others.
        net: the conditioner, called as `net(m·x, context)`; its output covers all cells, and that
            at kept cells is ignored.
        transformer: the elementwise map, such as `TanhAffine(gain=0)`.
    """

    kept: Tensor
    free: Tensor

    def __init__(self, mask: Tensor, net: nn.Module, transformer: Transformer) -> None:
        super().__init__()
        self.register_buffer("kept", mask.float().clone())
        self.register_buffer("free", (mask.flatten() == 0).nonzero()[:, 0])
        self.net = net
        self.transformer = transformer

    @property
    def reads_context(self) -> bool:
        return getattr(self.net, "reads_context", True)

    def condition(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._free(self.net(x * self.kept, context))

    def forward_given(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, ladj = self.transformer(self._free(x), h)
        return self._with_free(x, y), ladj

    def inverse_given(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        x, ladj = self.transformer.inverse(self._free(y), h)
        return self._with_free(y, x), ladj

    def _free(self, x: Tensor) -> Tensor:
        return x.flatten(2).index_select(2, self.free)

    def _with_free(self, x: Tensor, free: Tensor) -> Tensor:
        return x.flatten(2).index_copy(2, self.free, free).view(x.shape)

    def extra_repr(self) -> str:
        return f"keeps {int(self.kept.sum())} of {self.kept.numel()} pixels"


class Stripes(Bijection):
    """Even columns into the first half of the channels, odd columns into the second; ladj = 0.

    y[:, k·C + c, i, j] = x[:, c, i, 2j + k], k = 0, 1. A coupling that keeps half of the channels
    then changes one half of the columns given the other. Shapes: (N, C, H, W) to (N, 2C, H, W/2);
    W even. Source: aravindsrinivas/flowpp, `CheckerboardSplit`, which pairs columns whatever its
    name says; `Checkerboard` has the cells of Flow++'s paper.

    >>> Stripes()(torch.arange(4.0).reshape(1, 1, 1, 4))[0].tolist()
    [[[[0.0, 2.0]], [[1.0, 3.0]]]]
    """

    reads_context = False

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.cat([x[..., 0::2], x[..., 1::2]], dim=1), constant_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.stack(y.chunk(2, dim=1), dim=-1).flatten(-2), constant_ladj(y)


class Checkerboard(Bijection):
    """Cells with i + j even into the first half of the channels, the others into the second.

    y[:, k·C + c, i, j] = x[:, c, i, 2j + (k + i) mod 2], k = 0, 1; ladj = 0: `Stripes` with the
    halves of odd rows exchanged. Shapes: (N, C, H, W) to (N, 2C, H, W/2); W even. Source: RealNVP,
    section 3.4; the form in which Flow++ couplings take it is ours.

    >>> Checkerboard()(torch.arange(4.0).reshape(1, 1, 2, 2))[0].tolist()
    [[[[0.0], [3.0]], [[1.0], [2.0]]]]
    """

    reads_context = False

    def __init__(self) -> None:
        super().__init__()
        self.stripes = Stripes()

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, ladj = self.stripes(x)
        return _exchange_odd_rows(y), ladj

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.stripes.inverse(_exchange_odd_rows(y))


def _exchange_odd_rows(y: Tensor) -> Tensor:
    odd = torch.arange(y.shape[2], device=y.device)[:, None] % 2 == 1
    return torch.where(odd, y.roll(y.shape[1] // 2, dims=1), y)
