"""Couplings, a part of which stays and says how the rest is transformed, and what transforms it."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glowkit.core import Conditioned, constant_ladj, sum_per_example


class Transformer(nn.Module, ABC):
    """An elementwise invertible map whose parameters are given for every element.

    To write one: set `parameters_per_channel` = P and implement `forward` and `inverse`. `h`, the
    conditioner's output, has P channels for each channel of x, interleaved: channel P·j + k is the
    k-th parameter of channel j.
    """

    parameters_per_channel: int

    @abstractmethod
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Map x to y given h. Returns y and ladj, (N,), nats."""

    @abstractmethod
    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Map y to x given h. Returns x and the inverse map's ladj, (N,), nats."""

    def start(self) -> Tensor:
        """Parameters (P,) that a fresh map should have where zeros would not do: zeros here."""
        return torch.zeros(self.parameters_per_channel)

    def unpack(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """Split h into the parameters of each element, all of x's shape; raises as `group` does."""
        return self.group(x, h).unbind(2)

    def group(self, x: Tensor, h: Tensor) -> Tensor:
        """View h as (N, C, P, ...), the P parameters of each element of x along the third axis.

        Raises:
            ValueError: when the conditioner gave another number of channels: broadcasting it
                silently would count the log-det wrongly.
        """
        n, channels, *space = x.shape
        expected = (n, channels * self.parameters_per_channel, *space)
        if h.shape != expected:
            raise ValueError(f"conditioner gave {tuple(h.shape)}, needed {expected}")
        return h.contiguous().view(n, channels, self.parameters_per_channel, *space)


class Additive(Transformer):
    """y = x + t; inverse x = y − t; ladj = 0. Source: NICE, section 3.2."""

    parameters_per_channel = 1

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        (shift,) = self.unpack(x, h)
        return x + shift, constant_ladj(x)

    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        (shift,) = self.unpack(y, h)
        return y - shift, constant_ladj(y)


LN2 = math.log(2.0)

CENTRE = 2.0
"""openai/glow adds it to the raw scale, so that a fresh coupling does not scale by half."""


class Affine(Transformer):
    """y = (x + t) · s with s = σ(r + 2); inverse x = y / s − t; ladj = Σ ln s.

    h holds t and r interleaved. The shift comes before the scale and s < 1: both lose less
    precision on the way back than RealNVP's exp(s) · x + t. ln s is computed as
    −softplus(−(r + 2)), which stays finite where ln σ would not. A fresh, zero-initialised
    coupling has s = 0.8808. Source: Glow, table 1, in the form that openai/glow runs.
    """

    parameters_per_channel = 2

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.unpack(x, h)
        raw = raw + CENTRE
        return (x + shift) * raw.sigmoid(), sum_per_example(F.logsigmoid(raw))

    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.unpack(y, h)
        raw = raw + CENTRE
        return y / torch.sigmoid(raw) - shift, -sum_per_example(F.logsigmoid(raw))


class CentredAffine(Transformer):
    """y = (x + t) · s with s = 2σ(r); inverse x = y / s − t; ladj = Σ ln s.

    h holds t and r interleaved; h = 0 is the identity, and 0 < s < 2. ln s is computed as
    ln σ(r) + ln 2, finite where σ underflows. Source: Kolesnikov et al. 2024 (Jet), as
    google-research/big_vision runs it, where t and r are contiguous: the same map with its output
    channels reordered.

    >>> y, ladj = CentredAffine()(torch.tensor([[3.0]]), torch.zeros(1, 2))
    >>> y.item(), ladj.item()
    (3.0, 0.0)
    """

    parameters_per_channel = 2

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.unpack(x, h)
        return (x + shift) * (2 * raw.sigmoid()), sum_per_example(F.logsigmoid(raw) + LN2)

    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.unpack(y, h)
        return y / (2 * raw.sigmoid()) - shift, -sum_per_example(F.logsigmoid(raw) + LN2)


class TanhAffine(Transformer):
    """y = (x + t) · exp(s) with s = g · tanh(r); inverse x = y · exp(−s) − t; ladj = Σ s.

    h holds t and r interleaved; g, learned, bounds |s|: one number for all elements, or one for
    each channel. Source: RealNVP, section 4.1, in the order of tensorflow/models real_nvp (the
    paper scales, then shifts), where t and r are contiguous: the same map with its output channels
    reordered. One g for each channel is chrischute/glow's.

    Args:
        gain: g at the start; 0 makes the scale 1, and ladj 0.
        shape: g's shape, which broadcasts against that of an example.
    """

    parameters_per_channel = 2

    def __init__(self, gain: float, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full(shape, float(gain)))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.unpack(x, h)
        log_scale = self.gain * torch.tanh(raw)
        return (x + shift) * log_scale.exp(), sum_per_example(log_scale)

    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.unpack(y, h)
        log_scale = self.gain * torch.tanh(raw)
        return y * (-log_scale).exp() - shift, -sum_per_example(log_scale)


class BoundedAffine(Transformer):
    """y = x · exp(s) + t with s = a · tanh(r) + c; inverse x = (y − t) · exp(−s); ladj = Σ s.

    h holds t and r interleaved; a and c are one learned number each, for all elements: s stays
    between c − |a| and c + |a|. Source: RealNVP, section 3.2, with s as tatsy's
    normalizing-flows-pytorch has it, where a and c start near 0; here a starts at 1 and c at 0, so
    that a zero-initialised conditioner learns its scale from the first step on.

    >>> y, ladj = BoundedAffine()(torch.tensor([[2.0]]), torch.tensor([[1.0, 0.0]]))
    >>> y.item(), ladj.item()
    (3.0, 0.0)
    """

    parameters_per_channel = 2

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.unpack(x, h)
        log_scale = self.gain * torch.tanh(raw) + self.offset
        return x * log_scale.exp() + shift, sum_per_example(log_scale)

    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.unpack(y, h)
        log_scale = self.gain * torch.tanh(raw) + self.offset
        return (y - shift) * (-log_scale).exp(), -sum_per_example(log_scale)


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
