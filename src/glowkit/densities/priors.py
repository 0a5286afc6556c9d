"""Densities that flows end in: normal, uniform and logistic, learned or given a context."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glowkit.core import (
    Density,
    Generator,
    GlowkitError,
    LogPKind,
    NoiseSpec,
    constant_ladj,
    nan_where_broken,
    sum_per_example,
)
from glowkit.core.checking import check_shape
from glowkit.nets import ZeroConv2d, ZeroLinear

LOG_2PI = math.log(2 * math.pi)


class Prior(Density):
    """What flows end in: a density whose one noise has the shape of x, (N, *shape)."""

    shape: tuple[int, ...]

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def noise_specs(self) -> list[NoiseSpec]:
        return [NoiseSpec(self.shape)]

    def extra_repr(self) -> str:
        return f"{self.shape}"


class _Standard(Prior):
    """One without parameters, whose noise is x itself."""

    reads_context = False

    @abstractmethod
    def _log_p(self, x: Tensor) -> Tensor:
        """log p(x), (N,)."""

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        check_shape(x, self.shape)
        return [x], self._log_p(x)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        (x,) = noises
        return x, self._log_p(x)


class StandardNormal(_Standard):
    """Independent N(0, 1) in every dimension: log p = −½ Σ (x² + ln 2π). The noise is x itself.

    Shapes: (N, *shape).

    >>> StandardNormal((2,)).log_prob(torch.zeros(1, 2)).item()
    -1.83787...
    """

    def _log_p(self, x: Tensor) -> Tensor:
        return -0.5 * sum_per_example(x.square() + LOG_2PI)

    def mean_and_log_std(self, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """m = 0 and ln s = 0, scalars, as the normal priors that learn them have theirs."""
        zero = self.anchor
        return zero, zero


class StandardLogistic(_Standard):
    """Independent standard logistic dimensions: log p = −Σ [sp(x) + sp(−x)], sp the softplus.

    The noise is x itself, and logistic. Shapes: (N, *shape). Source: NICE, section 3.4.
    """

    def _log_p(self, x: Tensor) -> Tensor:
        return -sum_per_example(F.softplus(x) + F.softplus(-x))

    def noise_specs(self) -> list[NoiseSpec]:
        return [NoiseSpec(self.shape, "logistic")]


class Uniform(Prior):
    """Independent U(0, 1) in every dimension: log p = 0. Noise eps = Φ⁻¹(x), x = Φ(eps).

    Φ is the normal distribution function, so zero noise is the middle, ½. Outside of the cube
    log p = −∞, and the noise is NaN. Shapes: (N, *shape).

    >>> Uniform((1,)).decode([torch.zeros(1, 1)])[0].item()
    0.5
    """

    reads_context = False

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        check_shape(x, self.shape)
        log_p = (0 * x).masked_fill((x < 0) | (x > 1), -torch.inf)
        return [torch.special.ndtri(x)], sum_per_example(log_p)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        (eps,) = noises
        x = torch.special.ndtr(eps)
        return x, nan_where_broken(x, constant_ladj(x))


MEDIAN = 0.6744897501960817
"""Of |x| where x is N(0, 1)."""


class HalfNormal(Prior):
    """Independent |N(0, 1)| in every dimension: log p = Σ (½ ln(2/π) − ½ x²) for x > 0.

    Noise eps = Φ⁻¹(erf(x/√2)) = √2 erfinv(2 erf(x/√2) − 1), each tail from the smaller of both
    probabilities. For x < 0 log p = −∞, and the noise is NaN. Shapes: (N, *shape).

    >>> round(HalfNormal((1,)).decode([torch.zeros(1, 1)])[0].item(), 4)     # the median
    0.6745
    """

    reads_context = False

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        check_shape(x, self.shape)
        low, high = x.clamp_max(MEDIAN), x.clamp_min(MEDIAN)
        eps = torch.where(
            x < MEDIAN,
            torch.special.ndtri(torch.erf(low * math.sqrt(0.5))),
            -torch.special.ndtri(torch.erfc(high * math.sqrt(0.5))),
        )
        return [eps], self._log_p(x)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        (eps,) = noises
        low, high = eps.clamp_max(0), eps.clamp_min(0)
        x = torch.where(
            eps < 0,
            # Not by `ndtr`, which is 1 + erf, and loses its small values.
            math.sqrt(2) * torch.erfinv(torch.erfc(-low * math.sqrt(0.5)) / 2),
            -torch.special.ndtri(torch.erfc(high * math.sqrt(0.5)) / 4),
        )
        return x, nan_where_broken(x, self._log_p(x))

    def _log_p(self, x: Tensor) -> Tensor:
        log_p = 0.5 * math.log(2 / math.pi) - 0.5 * x.square()
        return sum_per_example(log_p.masked_fill(x < 0, -torch.inf))


class _Normal(Prior):
    """N(m, s²) for every value, with m and ln s from `mean_and_log_std`; eps = (x − m) / s."""

    @abstractmethod
    def mean_and_log_std(self, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """m and ln s, of x's shape, (N, *shape), or broadcasting to it.

        Raises:
            GlowkitError: without the context that they depend on.
        """

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        check_shape(x, self.shape)
        mean, log_std = self.mean_and_log_std(context)
        eps = (x - mean) * (-log_std).exp()
        return [eps], -0.5 * sum_per_example(eps.square() + LOG_2PI + 2 * log_std)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        (eps,) = noises
        mean, log_std = self.mean_and_log_std(context)
        x = mean + log_std.exp() * eps
        log_p = -0.5 * sum_per_example(eps.square() + LOG_2PI + 2 * log_std)
        return x, nan_where_broken(x, log_p)


class ConditionalNormal(_Normal):
    """N(m, s²) with (m, ln s) = net(context), interleaved: channel 2j is m_j, 2j + 1 is ln s_j.

    Noise eps = (x − m) / s; log p = −½ Σ (eps² + ln 2π + 2 ln s). Shapes: x (N, *shape), net output
    (N, 2C, ...). Cost: the net's. Source: Glow, openai/glow `split2d_prior`.

    Raises:
        GlowkitError: without a context, or when the net gives another shape.
    """

    def __init__(self, net: nn.Module, shape: Sequence[int]) -> None:
        super().__init__(shape)
        self.net = net

    def mean_and_log_std(self, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if context is None:
            raise GlowkitError("a conditional prior needs a context and got none")
        h = self.net(context)
        channels, *space = self.shape
        if h.shape[1:] != (2 * channels, *space):
            raise GlowkitError(f"net gave {tuple(h.shape[1:])}, needed {(2 * channels, *space)}")
        mean, log_std = h.reshape(h.shape[0], channels, 2, *space).unbind(2)
        return mean, log_std


class TopPrior(_Normal):
    """N(m, s²) with (m, ln s) learned; contiguous halves of border(0) + embedding(context).

    `border`, a zero convolution over a map of zeros, gives one mean and deviation for each
    channel that differ at the borders and corners only (openai/glow's `learn_top`; its weights on
    the zero inputs stay zero for ever, and are kept so that parameter counts agree).
    `embedding` adds a term for each context vector, broadcast over space (`ycond`). Without
    either, use `StandardNormal`. Shapes: x (N, C, H, W), context (N, features). Source: openai/glow
    `prior`.

    Raises:
        GlowkitError: without a context when there is an embedding.
    """

    def __init__(
        self, shape: Sequence[int], border: ZeroConv2d | None, embedding: ZeroLinear | None
    ) -> None:
        super().__init__(shape)
        self.border = border
        self.embedding = embedding

    def mean_and_log_std(self, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        channels, height, width = self.shape
        h = self.anchor.new_zeros(1, 2 * channels, height, width)
        if self.border is not None:
            h = self.border(h)
        if self.embedding is not None:
            if context is None:
                raise GlowkitError("this model is conditional: give a context with every example")
            h = h + self.embedding(context)[:, :, None, None]
        mean, log_std = h.chunk(2, dim=1)
        return mean, log_std

    @property
    def reads_context(self) -> bool:
        return self.embedding is not None


class Classified(Density):
    """A prior with a classifier head that reads the class off its latent, averaged over space.

    The density is the prior's own. `class_logits` serves Glow's auxiliary loss, in which it has
    this weight, in bits an image. Source: openai/glow `model.model`, `weight_y`.
    """

    def __init__(self, prior: Density, head: ZeroLinear, weight: float = 0.01) -> None:
        super().__init__()
        self.prior = prior
        self.head = head
        self.weight = weight
        self.shape, self.classes = prior.shape, prior.classes

    @property
    def reads_context(self) -> bool:
        return self.prior.reads_context

    @property
    def log_p_kind(self) -> LogPKind:
        return self.prior.log_p_kind

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        return self.prior.encode(x, context, generator)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.prior.decode(noises, context)

    def noise_specs(self) -> list[NoiseSpec]:
        return self.prior.noise_specs()

    def class_logits(self, noises: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        """Logits of the classes, (N, classes), from this prior's own noises."""
        x, _ = self.prior.decode(noises, context)
        return self.head(x.flatten(2).mean(2))
