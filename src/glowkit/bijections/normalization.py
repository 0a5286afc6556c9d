"""Normalisation as a bijection: actnorm, for each element too, and batch norm."""

from typing import Any

import torch
from torch import Tensor, nn

from glowkit.core import Bijection, GlowkitError, constant_ladj, pixelwise_ladj
from glowkit.core.bijection import whole
from glowkit.core.initialization import channel_statistics
from glowkit.nets.batchnorm import RunningMoments, squared_scale
from glowkit.nets.glow import LOG_SCALE_FACTOR


class Actnorm(Bijection):
    """Shift and scale each channel: y = (x + b) · exp(3 · logs).

    inverse: x = y · exp(−3 · logs) − b; ladj = pixels · 3 · Σ logs. Shapes: (N, C, ...), any
    number of spatial dimensions. `glowkit.initialize` sets b and logs so that each channel of
    the first batch has mean 0 and variance 1; the standard deviation is floored at 1e-4
    (openai/glow adds 1e-6). Cost: one pass. Source: Glow, section 3.1; the factor 3 is
    openai/glow's.

    Raises:
        GlowkitError: when used before it was initialised.

    >>> layer = Actnorm(1)
    >>> layer.initialize_from(torch.tensor([[1.0], [3.0]]))
    >>> layer(torch.tensor([[1.0], [3.0]]))[0].tolist()
    [[-1.0], [1.0]]
    """

    reads_context = False

    initialized: Tensor
    _seen: tuple[Tensor, int] | None = None

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.logs = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize_from(self, x: Tensor, *_: Tensor) -> None:
        mean, std = channel_statistics(x)
        self.bias.copy_(-mean)
        self.logs.copy_(-std.log() / LOG_SCALE_FACTOR)
        self.initialized.fill_(True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        bias, log_scale = self._affine(x)
        return (x + bias) * log_scale.exp(), self._ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        bias, log_scale = self._affine(y)
        return y * (-log_scale).exp() - bias, -self._ladj(y)

    def log_scale(self) -> Tensor:
        """ln of the scale, (C,)."""
        return LOG_SCALE_FACTOR * self.logs

    def require_ready(self) -> None:
        """Raise unless it has seen data, or was loaded with weights that have."""
        flag = whole(self.initialized)
        if flag.is_cpu or flag.is_inference():
            ready = bool(flag if flag.dim() == 0 else flag.all())
        else:
            # Read when it was replaced or written to: at every call it would stall a GPU.
            if self._seen is None or self._seen[0] is not flag or self._seen[1] != flag._version:
                self._seen = (flag, flag._version) if flag.all() else None
            ready = self._seen is not None
        if not ready:
            raise GlowkitError(
                "this model has not seen data yet; call glowkit.initialize(model, images) first,"
                " or load trained weights"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_seen": None}

    def _affine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.require_ready()
        shape = (-1, *[1] * (x.dim() - 2))
        return self.bias.view(shape), self.log_scale().view(shape)

    def _ladj(self, x: Tensor) -> Tensor:
        return pixelwise_ladj(x, self.log_scale().sum())

    def extra_repr(self) -> str:
        return f"{len(self.bias)} channels"


SMALLEST_GAIN = 1e-10
EPSILON = 1e-8


class ElementwiseNorm(Bijection):
    """Scale and shift every dimension: y = max(g, 1e-10) · x + b.

    inverse: x = (y − b) / max(g, 1e-10); ladj = Σ ln max(g, 1e-10). Shapes: (N, *shape), and g and
    b are of that shape. `glowkit.initialize` gives every dimension mean 0 and variance 1 over the
    batch: g = 1 / √(v + 1e-8), b = −μ g; without it the layer is the identity. Cost: one pass.
    Source: aravindsrinivas/flowpp, `Norm`.

    >>> layer = ElementwiseNorm((1,))
    >>> layer.initialize_from(torch.tensor([[1.0], [3.0]]))
    >>> layer(torch.tensor([[1.0], [3.0]]))[0].tolist()
    [[-1.0], [1.0]]
    """

    reads_context = False

    initialized: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize_from(self, x: Tensor, *_: Tensor) -> None:
        variance, mean = torch.var_mean(x, dim=0, correction=0)
        self.gain.copy_((variance + EPSILON).rsqrt())
        self.bias.copy_(-mean * self.gain)
        self.initialized.fill_(True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        gain = self.gain.clamp_min(SMALLEST_GAIN)
        return torch.addcmul(self.bias, x, gain), constant_ladj(x, gain.log().sum())

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        gain = self.gain.clamp_min(SMALLEST_GAIN)
        return (y - self.bias) / gain, constant_ladj(y, -gain.log().sum())

    def extra_repr(self) -> str:
        return f"{tuple(self.gain.shape)}"


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
    `glowkit.nets.following_moments`. Source: RealNVP, section 3.7; tensorflow/models real_nvp.

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
