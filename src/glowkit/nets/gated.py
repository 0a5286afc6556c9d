"""Flow++'s conditioner: gated convolutions and gated self-attention."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, cat, nn
from torch.nn import functional as F

from glowkit.core.bijection import transformed
from glowkit.nets.batchnorm import SharesBatch
from glowkit.nets.fast import Native, PrecisionNet, computing_in
from glowkit.nets.normalized import ConvMaker, StandardizedConv2d


class Dropout(SharesBatch, nn.Dropout):
    """`nn.Dropout`, which for a share of a batch draws for the whole of it.

    So several processes that share a batch, and one generator's seed, drop what one would drop.

    >>> from glowkit.nets.batchnorm import BatchShare
    >>> drop, x = Dropout(0.5), torch.ones(4, 3)
    >>> _, whole = torch.manual_seed(0), drop(x)
    >>> drop.share = BatchShare(4, rank=1, ranks=2)
    >>> _, half = torch.manual_seed(0), drop(x[1::2])
    >>> torch.equal(whole[1::2], half)
    True
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.share is None or not self.training or self.p == 0:
            return super().forward(x)
        keep = x.new_empty((self.share.size, *x.shape[1:]))
        if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
            keep = keep.to(memory_format=torch.channels_last)
        keep = keep.bernoulli_(1 - self.p)[self.share.rows]
        return x * keep.div_(1 - self.p)


BRANCH_DEVIATION = 0.1
"""Of what a residual branch, or a whole conditioner, gives on the first batch."""


class ConcatELU(nn.Module):
    """ELU of x and of −x, side by side. Shapes: (N, C, H, W) to (N, 2C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(cat([x, -x], dim=1))


def gate(x: Tensor) -> Tensor:
    """p · σ(q), where (p, q) are the halves of the channels."""
    if transformed():  # torch's own is differentiated forward once, and no further.
        p, q = x.chunk(2, dim=1)
        return p * q.sigmoid()
    return F.glu(x, dim=1)


class Positions(nn.Module):
    """A learned vector for every pixel: x + p. Starts as N(0, 0.01²). Shapes: (N, C, H, W)."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(0.01 * torch.randn(channels, height, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.embedding

    def extra_repr(self) -> str:
        return "{} channels, {}x{}".format(*self.embedding.shape)


class GatedLayer(nn.Module):
    """What a `GatedNet` is made of: called with features, positions and context, as needed."""

    def forward(self, x: Tensor, positions: nn.Module, context: Tensor | None) -> Tensor:
        raise NotImplementedError


class LayerNorm(Native):
    """(x − μ) / √(v + ε) · w + b, with the moments of the last dimension. Third derivatives of
    torch's own are wrong.
    """

    @staticmethod
    def native(x: Tensor, weight: Tensor, bias: Tensor, shape: Sequence[int], eps: float) -> Tensor:
        return F.layer_norm(x, shape, weight, bias, eps)

    @staticmethod
    def plain(x: Tensor, weight: Tensor, bias: Tensor, shape: Sequence[int], eps: float) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred * (centred.square().mean(-1, keepdim=True) + eps).rsqrt() * weight + bias


class ChannelNorm(GatedLayer):
    """Layer norm over the channels of each pixel, ε = 1e-5, with a learned scale and shift."""

    reads_context = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, positions: nn.Module, context: Tensor | None) -> Tensor:
        layer = self.norm
        given = x.movedim(1, -1), layer.weight, layer.bias, layer.normalized_shape, layer.eps
        return LayerNorm.of(*given).movedim(-1, 1)


class GatedConv(GatedLayer):
    """x + p · σ(q), with (p, q) = conv(dropout(celu(conv3x3(celu(x)) + conv1x1(celu(context))))).

    celu is `ConcatELU`. Shapes: (N, width, H, W) to the same; a context of `context_features`
    channels is (N, features, H, W). Source: Flow++, appendix; aravindsrinivas/flowpp `gated_conv`.

    Args:
        kernel: of the second convolution.
        dropout: the share of activations dropped in training.
        conv: how convolutions are made, such as `StandardizedConv2d`.
    """

    context: nn.Module | None

    def __init__(
        self,
        width: int,
        kernel: int,
        dropout: float,
        conv: ConvMaker = StandardizedConv2d,
        context_features: int = 0,
    ) -> None:
        super().__init__()
        self.activation = ConcatELU()
        self.first = conv(2 * width, width, 3)
        self.context = conv(2 * context_features, width, 1) if context_features else None
        self.dropout = Dropout(dropout)
        self.second = conv(2 * width, 2 * width, kernel, BRANCH_DEVIATION)

    @property
    def reads_context(self) -> bool:
        return self.context is not None

    def forward(self, x: Tensor, positions: nn.Module, context: Tensor | None) -> Tensor:
        h = self.first(self.activation(x))
        if self.context is not None:
            if context is None:
                raise ValueError("this conditioner needs a context and got none")
            h = h + self.context(self.activation(context))
        return x + gate(self.second(self.dropout(self.activation(h))))


class Attention(Native):
    """softmax(q kᵀ / √d) v, for q, k and v (N, heads, positions, d)."""

    native = staticmethod(F.scaled_dot_product_attention)

    @staticmethod
    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        return scores.softmax(-1).to(v.dtype) @ v


class GatedAttention(GatedLayer):
    """x + p · σ(q), with (p, q) = conv1x1(dropout(attention(x + positions))).

    Every pixel attends to all: softmax(q kᵀ / √d) v in each head. Shapes: (N, width, H, W) to the
    same. Cost: 5·width² + 2·H·W·width multiplications a pixel. Source: Vaswani et al. 2017;
    Flow++, section 4.2; aravindsrinivas/flowpp `gated_attn`.

    Raises:
        ValueError: when the heads do not divide the width.
    """

    reads_context = False

    def __init__(
        self, width: int, heads: int, dropout: float, conv: ConvMaker = StandardizedConv2d
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads = heads
        self.first = conv(width, 3 * width, 1)
        self.dropout = Dropout(dropout)
        self.second = conv(width, 2 * width, 1, BRANCH_DEVIATION)

    def forward(self, x: Tensor, positions: nn.Module, context: Tensor | None) -> Tensor:
        parts = self.first(positions(x)).flatten(2).unflatten(1, (3, self.heads, -1))
        q, k, v = parts.transpose(3, 4).unbind(1)
        attended = Attention.of(q, k, v)
        h = attended.transpose(2, 3).reshape(x.shape)
        return x + gate(self.second(self.dropout(h)))


class GatedNet(PrecisionNet):
    """entry → layers → head, with the positions that all attention layers share.

    Shapes: (N, C, H, W) to whatever the head makes, at the same height and width; the context is
    (N, features, H, W). Computed in `precision`. Source: Flow++, figure 2.

    Args:
        entry: makes features of the input.
        layers: gated convolutions, channel norms and gated attention.
        head: makes the output of the features.
        positions: the `Positions` for attention layers; `nn.Identity()` where there are none.
    """

    def __init__(
        self,
        entry: nn.Module,
        layers: Sequence[GatedLayer],
        head: nn.Module,
        positions: nn.Module,
        precision: str = "float32",
    ) -> None:
        super().__init__(precision)
        self.entry = entry
        self.positions = positions
        self.layers = nn.ModuleList(layers)
        self.head = head

    @property
    def reads_context(self) -> bool:
        return any(getattr(layer, "reads_context", True) for layer in self.layers)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        with computing_in(self.dtype, x.device):
            h = self.entry(x)
            for layer in self.layers:
                h = layer(h, self.positions, context)
            return self.head(h).to(x.dtype)
