"""Autoregressive flows of tokens, TarFlow's: patches of an image, transformed one after another."""

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.bijections.coupling import Transformer
from glowkit.core import Bijection, constant_ladj, sum_per_example
from glowkit.nets.causal import CausalNet


class Patches(Bijection):
    """Cut an image into patches of p x p pixels, the tokens, in raster order; ladj = 0.

    Shapes: (N, C, H, W) to (N, C·p·p, H/p · W/p); a token's dimensions are in the order of
    `torch.nn.functional.pixel_unshuffle`. `shape` is that of an image.

    >>> Patches((1, 2, 4), 2)(torch.arange(8.0).view(1, 1, 2, 4))[0][0].T.tolist()
    [[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]
    """

    reads_context = False

    def __init__(self, shape: tuple[int, int, int], size: int) -> None:
        super().__init__()
        self.rows, self.columns = shape[1] // size, shape[2] // size
        self.size = size

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return F.pixel_unshuffle(x, self.size).flatten(2), constant_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        grid = y.unflatten(2, (self.rows, self.columns))
        return F.pixel_shuffle(grid, self.size), constant_ladj(y)

    def extra_repr(self) -> str:
        return f"{self.rows}x{self.columns} of {self.size}x{self.size}"


class Flip(Bijection):
    """The tokens, and the dimensions of each, from the last to the first; ladj = 0.

    Its own inverse. Shapes: (N, d, T).

    >>> Flip()(torch.arange(4.0).view(1, 2, 2))[0].tolist()
    [[[3.0, 2.0], [1.0, 0.0]]]
    """

    reads_context = False

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.flip(1, 2), constant_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y.flip(1, 2), constant_ladj(y)


MOST_LOG_SCALE = 5.0


class TarAffine(Transformer):
    """y = (x − μ) · exp(−α) with α = 5 tanh(a / 5); inverse x = y · exp(α) + μ; ladj = −Σ α.

    h holds μ and a interleaved; h = 0 is the identity. Source: Zhai et al. 2024 (TarFlow), section
    3.1, where α is unbounded.
    """

    parameters_per_channel = 2

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = self.mean_and_log_scale(x, h)
        return (x - mean) * (-log_scale).exp(), -sum_per_example(log_scale)

    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = self.mean_and_log_scale(y, h)
        return y * log_scale.exp() + mean, sum_per_example(log_scale)

    def mean_and_log_scale(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """μ and α, in the shape of x."""
        mean, raw = self.unpack(x, h)
        return mean, MOST_LOG_SCALE * (raw / MOST_LOG_SCALE).tanh()


class TokenAutoregressive(Bijection):
    """Transform every token given those before it: y_t = T(x_t; h_t(x_<t, context)).

    forward: one pass of the network; ladj = Σ ln |∂T/∂x|, since the Jacobian is triangular. Where
    the network has a head inside tokens, each dimension is given those before it in its token too.
    inverse: token by token, dimension by dimension where there is such a head, by the network's
    steps, which keep keys and values: T evaluations of one token, not T whole passes. Gradients of
    both are exact. Shapes: (N, d, T).

    Source: Zhai et al. 2024 (TarFlow), section 3.1. `Flip` between blocks turns the order around.

    Args:
        net: the conditioner, of as many parameters a dimension as `transformer` has.
        transformer: the elementwise map: `TarAffine()`, `LogisticMixture(...)`, ...

    >>> net = CausalNet(2, 3, 2, width=8, layers=1, heads=1)
    >>> layer = TokenAutoregressive(net, TarAffine())
    >>> x = torch.randn(1, 2, 3)
    >>> torch.allclose(layer.inverse(layer(x)[0])[0], x, atol=1e-6)
    True
    """

    not_rebuilt_in_training = "takes as many evaluations of its network as there are tokens"

    def __init__(self, net: CausalNet, transformer: Transformer) -> None:
        super().__init__()
        self.net = net
        self.transformer = transformer
        net.begin_with(transformer.start())

    @property
    def reads_context(self) -> bool:
        return self.net.reads_context

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transformer(x, self.net(x, context))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state, ladj, tokens = self.net.start(len(y), context), y.new_zeros(len(y)), list[Tensor]()
        for of_token in y.unbind(2):
            token = of_token[:, :0]
            while token.shape[1] < of_token.shape[1]:
                h = self.net.outputs(state, token)
                there = token.shape[1]
                new, part = self.transformer.inverse(
                    of_token[:, there : there + h.shape[1]], h.flatten(1)
                )
                token = torch.cat([token, new], 1)
                ladj = ladj + part
            state = self.net.step(state, token)
            tokens.append(token)
        return torch.stack(tokens, 2), ladj
