"""Layers of some cells or channels: masked couplings and batch norm, parts, stripes, boards."""

import torch
from torch import Tensor, nn

from glowkit.bijections.coupling import Transformer
from glowkit.core import Bijection, Conditioned, GlowkitError, constant_ladj
from glowkit.nets.batchnorm import RunningMoments, squared_scale


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


class On(Bijection):
    """Map the first channels by a bijection and leave the others: y = [f(x₁), x₂].

    inverse: x = [f⁻¹(y₁), y₂]; ladj is f's. Shapes: (N, C, ...). Cost: f's.

    Args:
        kept: how many channels f sees, and returns.
        bijection: f.

    >>> from glowkit.bijections import Shift
    >>> On(1, Shift(1.0))(torch.zeros(1, 2))[0].tolist()
    [[1.0, 0.0]]
    """

    def __init__(self, kept: int, bijection: Bijection) -> None:
        super().__init__()
        self.kept = kept
        self.bijection = bijection

    @property
    def reads_context(self) -> bool:
        return self.bijection.reads_context

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, ladj = self.bijection(x[:, : self.kept], context)
        return torch.cat([y, x[:, self.kept :]], dim=1), ladj

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, ladj = self.bijection.inverse(y[:, : self.kept], context)
        return torch.cat([x, y[:, self.kept :]], dim=1), ladj

    def extra_repr(self) -> str:
        return f"of {self.kept} channels"


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


class RowStripes(Bijection):
    """Even rows into the first half of the channels, odd rows into the second; ladj = 0.

    y[:, k·C + c, i, j] = x[:, c, 2i + k, j], k = 0, 1: `Stripes` of rows. Shapes: (N, C, H, W) to
    (N, 2C, H/2, W); H even. Source: Kolesnikov et al. 2024 (Jet), its horizontal stripes.

    >>> RowStripes()(torch.arange(4.0).reshape(1, 1, 4, 1))[0].tolist()
    [[[[0.0], [2.0]], [[1.0], [3.0]]]]
    """

    reads_context = False

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.cat([x[..., 0::2, :], x[..., 1::2, :]], dim=1), constant_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.stack(y.chunk(2, dim=1), dim=-2).flatten(-3, -2), constant_ladj(y)


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


class MaskedBatchNorm(Bijection):
    """Normalise each channel where the mask is 1: y = (x − μ) / √(v + ε); the rest stays.

    inverse: x = y · √(v + ε) + μ; ladj = −½ Σ ln(v + ε) over the elements under the mask. μ and v
    are moments over the batch and the whole grid, with zeros where the mask is 0, as in the
    reference: on half a grid v is about half the variance. Shapes: (N, C, H, W),
    or (N, C) for vectors. Cost: two passes.

    In training μ and v are the batch's, gradients flow through them, and ladj is that of the map
    with both held fixed. Evaluation and the inverse use running moments: each example by itself.
    A channel that is constant up to rounding is shifted and not scaled. A training batch with fewer
    than two values a channel, such as one vector, is normalised by the running moments: a batch's
    own would map every such example to zero, at any price in ladj.

    forward changes no state: the running moments follow training inside
    `glowkit.nets.following`. Source: RealNVP, section 3.7; tensorflow/models real_nvp.

    Args:
        channels: C.
        mask: 1 where x is normalised, of a shape that broadcasts to (C, H, W), or (C,).

    Raises:
        GlowkitError: by the inverse in training, which does not know the batch it would undo.
    """

    reads_context = False

    mask: Tensor
    not_rebuilt_in_training = "normalises by its batch"

    def __init__(self, channels: int, mask: Tensor) -> None:
        super().__init__()
        self.moments = RunningMoments(channels)
        self.register_buffer("mask", mask.float().clone())
        self.seen = float(mask.float().flatten(-2).mean(-1).max()) if mask.dim() > 1 else 1.0

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean, variance = self.moments(x * self.mask, self.seen)
        square = squared_scale(mean, variance)
        shape = (-1, *[1] * (x.dim() - 2))
        y = (x - mean.view(shape)) / square.sqrt().view(shape)
        return torch.where(self.mask > 0, y, x), self._ladj(x, square)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.training:
            raise GlowkitError(
                "batch norm cannot be inverted in training mode, where it depends on the batch;"
                " call model.eval() before sampling or decoding"
            )
        mean, variance = self.moments(y * self.mask)
        shape = (-1, *[1] * (y.dim() - 2))
        square = squared_scale(mean, variance)
        x = y * square.sqrt().view(shape) + mean.view(shape)
        return torch.where(self.mask > 0, x, y), -self._ladj(y, square)

    def _ladj(self, x: Tensor, square: Tensor) -> Tensor:
        cells = self.mask.expand(x.shape[1:]).reshape(len(square), -1).sum(1)
        return constant_ladj(x, -0.5 * (cells * square.log()).sum())
