"""A causal transformer over tokens: what each is given by those before it."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glowkit.core.freezing import made_once
from glowkit.nets.fast import PrecisionNet, computing_in
from glowkit.nets.vit import TransformerLayer

POSITION_DEVIATION = 0.02
WITHIN_DEVIATION = 0.3
"""Of weights from the dimensions of a token to later ones, times the root of their number."""


class CausalState(NamedTuple):
    """What is known of a sequence up to some token: a value, of which steps make new ones.

    keys, values: of every layer, (N, heads, tokens, width / heads) each, up to the token that comes
    next. last: the last tokens before it, as far back as one is seen, (N, back, d·F). given: what
    the context adds to each, (N, 1, width). read: what the head reads of the transformer's output
    for the token that comes next, (N, d, ...). temperature: of attention.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    last: Tensor
    given: Tensor
    read: Tensor
    temperature: float


class CausalNet(PrecisionNet):
    """A pre-norm transformer whose output for token t depends on tokens before t alone.

    Token t enters as a linear map of what came before: token t − 1 and, where tokens lie in rows of
    `columns`, the three above; nothing stands for what is outside. The positions are learned, and
    the first of them is the start token: every token's parameters are learned, the first's too.
    Each layer is a `TransformerLayer`.

    With `inner` > 0 a head makes the dimensions of a token autoregressive too, so that the output
    for dimension j sees dimensions i < j of its token: h_j = V_j GELU(A_j e_t + Σ_{i<j} B_ji x_i),
    where e_t is the transformer's output and A_j, B_ji lead to `inner` numbers. Without it all of
    a token comes at once.

    Sampling goes token by token: `start`, then for each token `outputs`, until all of its
    dimensions are known, and `step`. Keys and values of earlier tokens are kept in the state, which
    is a value; the net itself is never changed. So T tokens cost T evaluations of one, and T²
    products of attention. A `temperature` of attention other than 1 is for guidance
    (`glowkit.guided`).

    Shapes: (N, d·F, T) to (N, d·P, T), the P parameters of a dimension beside each other, and so
    are its F features. Source: Zhai et al. 2024, section 3.2 (TarFlow). Departures: the start token
    (there the first token of a block stays as it is), the head inside tokens, the tokens above,
    the last layer's bias, which `start` sets.

    Args:
        dimensions: d, of a token.
        tokens: T.
        outputs: P, a dimension.
        width: C, of the transformer; divisible by `heads`.
        layers: of the transformer.
        heads: of attention.
        context_features: of the context (N, features), which is added to every token; 0 for none.
        inner: hidden units of the head inside a token, for each dimension; 0 for no head.
        features: F, numbers that say a dimension; 1, where it is the number itself.
        columns: tokens in a row; 0 where they do not lie in rows.
        dropout: of what each half of a layer adds.
        precision: see `PrecisionNet`.

    >>> net = CausalNet(4, 6, 2, width=8, layers=1, heads=2)
    >>> x = torch.randn(1, 4, 6)
    >>> whole, state = net(x), net.start(1)
    >>> for t in range(6):
    ...     now = net.outputs(state, x[:, :0, t])
    ...     assert torch.allclose(now.flatten(1), whole[:, :, t], atol=1e-6)
    ...     state = net.step(state, x[:, :, t])
    """

    def __init__(
        self,
        dimensions: int,
        tokens: int,
        outputs: int,
        width: int,
        layers: int,
        heads: int,
        context_features: int = 0,
        inner: int = 0,
        features: int = 1,
        columns: int = 0,
        dropout: float = 0.0,
        precision: str = "float32",
    ) -> None:
        super().__init__(precision)
        self.dimensions, self.tokens, self.outputs_each = dimensions, tokens, outputs
        self.features, self.inner, self.context_features = features, inner, context_features
        self.columns = columns
        self.back = (1, columns - 1, columns, columns + 1) if columns > 2 else (1,)
        size, read = dimensions * features, dimensions * (inner or outputs)
        self.entry = nn.Linear(size * len(self.back), width)
        self.position = nn.Parameter(POSITION_DEVIATION * torch.randn(1, tokens, width))
        self.context = nn.Linear(context_features, width, bias=False) if context_features else None
        self.layers = nn.ModuleList(TransformerLayer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, read)
        if inner:
            self.within = nn.Parameter(
                WITHIN_DEVIATION * size**-0.5 * torch.randn(size, dimensions, inner)
            )
            self.last = nn.Parameter(torch.zeros(dimensions, inner, outputs))
            self.bias = nn.Parameter(torch.zeros(dimensions, outputs))
        else:
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)

    @property
    def reads_context(self) -> bool:
        return self.context is not None

    @torch.no_grad()
    def begin_with(self, parameters: Tensor) -> None:
        """Let a fresh net give these P parameters for every dimension, whatever the tokens."""
        bias = self.bias if self.inner else self.leave.bias
        bias.copy_(parameters.repeat(self.dimensions).view_as(bias))

    def forward(self, x: Tensor, context: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        n, count = x.shape[0], self.tokens
        rows, farthest = x.transpose(1, 2), max(self.back)
        with computing_in(self.dtype, x.device):
            padded = F.pad(rows, (0, 0, farthest, 0))
            seen = [padded[:, farthest - o : farthest - o + count] for o in self.back]
            e = self._entered(seen, torch.arange(count, device=x.device))
            e = e + self._given(n, context, x)
            mask = torch.full((count, count), -torch.inf, device=x.device).triu(1)
            for layer in self.layers:
                e, _, _ = layer(e, mask, temperature=temperature)
            h = self.leave(self.norm(e))
            if self.inner:
                h = (h + rows @ self.seeing()).view(n * count, self.dimensions, self.inner)
                # A product of matrices for each dimension of a token.
                h = torch.bmm(F.gelu(h).transpose(0, 1), self.last).transpose(0, 1)
                h = h.to(x.dtype).reshape(n, count, -1) + self.bias.flatten()
        return h.to(x.dtype).transpose(1, 2)

    def start(self, n: int, context: Tensor | None = None, temperature: float = 1.0) -> CausalState:
        """The state before the first token of n sequences."""
        like = self.position
        none = like.new_zeros(n, len(self.layers), 0)
        heads = [cast(TransformerLayer, layer).heads for layer in self.layers]
        width = like.shape[2]
        empty = tuple(like.new_zeros(n, k, 0, width // k) for k in heads)
        last = like.new_zeros(n, max(self.back), self.dimensions * self.features)
        state = CausalState(empty, empty, last, self._given(n, context, like), none, temperature)
        return self._advanced(state)

    def outputs(self, state: CausalState, known: Tensor) -> Tensor:
        """The parameters of the dimensions of the next token that follow what is known of it.

        known: the features of its first dimensions, (N, j·F), with j = 0 at first. Shapes: to
        (N, 1, P), of dimension j alone; without a head inside tokens, of all d, (N, d, P).
        """
        if not self.inner:
            return state.read
        j = known.shape[1] // self.features
        own = slice(j * self.inner, (j + 1) * self.inner)
        h = state.read[:, j] + known @ self.seeing()[: known.shape[1], own]
        return (F.gelu(h) @ self.last[j] + self.bias[j]).unsqueeze(1)

    def step(self, state: CausalState, token: Tensor) -> CausalState:
        """The state after one more token, whose features are (N, d·F)."""
        last = torch.cat([state.last[:, 1:], token.unsqueeze(1)], 1)
        return self._advanced(state._replace(last=last))

    @made_once
    def seeing(self) -> Tensor:
        """The weights from each dimension of a token to later ones, (d·F, d·inner)."""
        earlier = torch.ones(self.dimensions, self.dimensions, device=self.within.device).triu(1)
        earlier = earlier.repeat_interleave(self.features, 0).to(self.within.dtype)
        return (self.within * earlier.unsqueeze(2)).flatten(1)

    def _advanced(self, state: CausalState) -> CausalState:
        """The state with what the head reads of the token after `last`, one evaluation."""
        at = state.keys[0].shape[2]
        if at == self.tokens:  # all are known
            return state._replace(read=state.read[:, :0])
        seen = [state.last[:, -o, None] for o in self.back]
        e = self._entered(seen, torch.full((1,), at, device=state.last.device)) + state.given
        mask, keys, values = e.new_zeros(()), list[Tensor](), list[Tensor]()
        for layer, k, v in zip(self.layers, state.keys, state.values, strict=True):
            e, k, v = layer(e, mask, k, v, state.temperature)
            keys.append(k)
            values.append(v)
        read = self.leave(self.norm(e)).view(e.shape[0], self.dimensions, -1)
        return state._replace(keys=tuple(keys), values=tuple(values), read=read)

    def _entered(self, seen: list[Tensor], places: Tensor) -> Tensor:
        """Tokens at these places as they enter, made of those before, one (N, t, d·F) an offset."""
        there = torch.stack([self._there(places, o) for o in self.back]).to(seen[0].dtype)
        beside = [x * where[:, None] for x, where in zip(seen, there, strict=True)]
        return self.entry(torch.cat(beside, 2)) + self.position[:, places]

    def _there(self, places: Tensor, back: int) -> Tensor:
        """Whether there is a token so many back, and beside or above: not past a row's end."""
        if back == 1:
            return places >= 1
        column = places % self.columns + (self.columns - back)
        return (places >= self.columns) & (column >= 0) & (column < self.columns)

    def _given(self, n: int, context: Tensor | None, like: Tensor) -> Tensor:
        if self.context is None:
            return like.new_zeros(n, 1, 1)
        if context is None:
            raise ValueError("this conditioner needs a context and got none")
        return self.context(context).unsqueeze(1)
