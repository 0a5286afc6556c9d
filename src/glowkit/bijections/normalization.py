"""Normalisation as a bijection: actnorm, for each element too, and batch norm."""

from typing import Any

import torch
from torch import Tensor, nn

from glowkit.core import Bijection, GlowkitError, pixelwise_ladj
from glowkit.core.bijection import whole
from glowkit.core.initialization import channel_statistics
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
        if torch.compiler.is_exporting():  # of whose graph it was asked before
            return
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
