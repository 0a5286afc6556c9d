"""Normal priors whose mean and deviation a network gives."""

from collections.abc import Sequence

from torch import Tensor, nn

from glowkit.core import Density, Generator, GlowkitError, NoiseSpec
from glowkit.core.inputs import check_shape
from glowkit.densities.normal import normal_decode, normal_encode


class ConditionalNormal(Density):
    """N(m, s²) with (m, ln s) = net(context), interleaved: channel 2j is m_j, 2j + 1 is ln s_j.

    Noise eps = (x − m) / s; log p = −½ Σ (eps² + ln 2π + 2 ln s). Shapes: x (N, *shape), net output
    (N, 2C, ...). Cost: the net's. Source: Glow, openai/glow `split2d_prior`.

    Raises:
        GlowkitError: without a context, or when the net gives another shape.
    """

    def __init__(self, net: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self.net = net
        self.shape = tuple(shape)

    def _parameters_of(self, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if context is None:
            raise GlowkitError("a conditional prior needs a context and got none")
        h = self.net(context)
        channels, *space = self.shape
        if h.shape[1:] != (2 * channels, *space):
            raise GlowkitError(f"net gave {tuple(h.shape[1:])}, needed {(2 * channels, *space)}")
        mean, log_std = h.reshape(len(h), channels, 2, *space).unbind(2)
        return mean, log_std

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        check_shape(x, self.shape)
        eps, log_p = normal_encode(x, *self._parameters_of(context))
        return [eps], log_p

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        (eps,) = noises
        return normal_decode(eps, *self._parameters_of(context))

    def noise_specs(self) -> list[NoiseSpec]:
        return [NoiseSpec(self.shape)]
