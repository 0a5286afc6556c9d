"""A vision transformer as a conditioner, and the layer that it shares with causal transformers."""

from torch import Tensor, cat, nn, randn
from torch.nn import functional as F

from glowkit.nets.fast import PrecisionNet, computing_in
from glowkit.nets.gated import Dropout


class TransformerLayer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): pre-norm, GELU, hidden layers of 4C.

    Shapes: (N, T, C). Attention is two products of matrices with a softmax between, which at a few
    hundred tokens is faster on a CPU than fused attention, whose gradient is slow in bfloat16.
    Cost: 12·C² + 2·T·C multiplications a token. Source: Vaswani et al. 2017; Dosovitskiy et al.
    2020, section 3.1.

    Args:
        width: C; divisible by `heads`.
        heads: of attention.
        dropout: the share of what each half adds that is dropped in training.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        keys: Tensor | None = None,
        values: Tensor | None = None,
        temperature: float = 1.0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The layer's output for x, and all keys and values: those given, then those of x.

        mask: 0 where a token of x sees one of these, −∞ where it does not; without, it sees all.
        temperature: by which the scores are divided before the softmax.
        """
        n, t, width = x.shape
        qkv = self.qkv(self.before_attention(x)).view(n, t, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if keys is not None and values is not None:
            k, v = cat([keys, k], 2), cat([values, v], 2)
        scores = (q * (q.shape[-1] ** -0.5 / temperature)) @ k.transpose(2, 3)
        if mask is not None:
            scores = scores + mask.to(q.dtype)
        seen = (scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).reshape(n, t, width)
        x = x + self.drop(self.mix(seen))
        hidden = F.gelu(self.up(self.before_mlp(x)))
        return x + self.drop(self.down(hidden)), k, v


class ViT(PrecisionNet):
    """A pre-norm transformer over the cells of an image, each of which sees all others.

    Every cell enters by a linear map of its channels and a learned vector for its place, N(0, 1/C);
    each layer is a `TransformerLayer`; norm and a linear map, zero at first, make the output.
    Shapes: (N, in_channels, H, W) to (N, out_channels, H, W), whose cells are the patches of an
    image; the context is (N, features). Cost: (12·C² + 2·H·W·C) multiplications a cell and layer.

    Source: Dosovitskiy et al. 2020, section 3.1, without the token of a class; as the conditioner
    of a flow Kolesnikov et al. 2024 (Jet), `DNN` of google-research/big_vision. Departures: GELU
    itself, where the reference has its approximation by tanh, and torch's initial weights.

    Args:
        in_channels: of the input's cells.
        out_channels: of the output's.
        size: H and W.
        width: C, of the transformer; divisible by `heads`.
        layers: of the transformer.
        heads: of attention.
        context_features: of the context, which is added to every cell; 0 for none.
        dropout: of what each half of a layer adds.
        precision: see `PrecisionNet`.

    >>> from torch import zeros
    >>> net = ViT(2, 6, (4, 4), width=8, layers=1, heads=2)
    >>> h = net(zeros(1, 2, 4, 4))  # zeros, until it is trained
    >>> h.shape, h.abs().max().item()
    (torch.Size([1, 6, 4, 4]), 0.0)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int],
        width: int,
        layers: int,
        heads: int,
        context_features: int = 0,
        dropout: float = 0.0,
        precision: str = "float32",
    ) -> None:
        super().__init__(precision)
        self.entry = nn.Linear(in_channels, width)
        self.position = nn.Parameter(width**-0.5 * randn(1, size[0] * size[1], width))
        self.context = nn.Linear(context_features, width, bias=False) if context_features else None
        self.layers = nn.ModuleList(TransformerLayer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, out_channels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    @property
    def reads_context(self) -> bool:
        return self.context is not None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        with computing_in(self.dtype, x.device):
            h = self.entry(x.flatten(2).transpose(1, 2)) + self.position
            if self.context is not None:
                if context is None:
                    raise ValueError("this conditioner needs a context and got none")
                h = h + self.context(context).unsqueeze(1)
            for layer in self.layers:
                h, _, _ = layer(h)
            h = self.leave(self.norm(h))
        return h.to(x.dtype).transpose(1, 2).unflatten(2, x.shape[2:])
