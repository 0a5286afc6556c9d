"""Densities whose log-determinant is estimated: unbiased, by random probes and a random stop."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from glowkit.core import Bijection, Chain, Density, Generator, GlowkitError, LogPKind, NoiseSpec
from glowkit.core.noise import MIDPOINT, OfEach, Portion, draw
from glowkit.densities.compose import Then

Product = Callable[[Tensor], Tensor]
Drawn = Callable[[Product, Tensor], Tensor]
"""From the products v -> J v at x, one draw of what is estimated, (N,)."""

SETTLED_TERMS = 20
"""Of the series where no generator is: in `decode`, and with `MIDPOINT`."""

SETTLED_SEED = 0


class Estimator(Protocol):
    """Draws what is random of an estimate, once for all blocks that it is then applied to."""

    def drawn(self, x: Tensor, generator: Generator) -> Drawn: ...


@dataclass(frozen=True)
class RussianRoulette:
    """ln det(I + J) without bias: Σ_{k≤N} (−1)^(k+1)/k · vᵀJᵏv / P(N ≥ k).

    N = exact_terms + G, with G geometric from 1 on, is drawn once a batch, or for each example
    where each has its generator; v, of signs, for each example. Cost: N products, exact_terms + 1/p
    on average. The gradient is the Neumann series', vᵀ ∂J [Σ_{k≤N} (−1)ᵏ Jᵏ / P(N ≥ k)] v, unbiased
    as well, for which one more product is made and it alone kept. With `MIDPOINT` it is the first
    20 terms, with the same v for all, and its own gradient. Shapes: x (N, ...) to (N,), nats.
    Source: Chen et al. 2019, sections 3.1 and 3.2. Departure: v of signs, which vary less.

    Args:
        exact_terms: that are never left out, beside the first of the random ones.
        p: the probability to stop after each term, in (0, 1).

    Raises:
        GlowkitError: for another p, or a negative number of terms.
    """

    exact_terms: int = 2
    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.p < 1:
            raise GlowkitError(
                f"p is {self.p}, the probability to stop after each term of a Russian roulette; it"
                " must be more than 0 and less than 1"
            )
        if self.exact_terms < 0:
            raise GlowkitError(
                f"exact_terms is {self.exact_terms}, terms that are never left out; give 0 or more"
            )

    def drawn(self, x: Tensor, generator: Generator) -> Drawn:
        probe = signs(x, generator)
        if generator is MIDPOINT:
            return _Settled(probe)
        u = _uniform(x, generator)
        more = 1 + (u.log() / math.log1p(-self.p)).floor()
        return _Series(probe, self.exact_terms + more, self.exact_terms, self.p)


@dataclass(frozen=True)
class Hutchinson:
    """tr J without bias: vᵀJv, with v of signs, the same along a whole path. One product.

    With `MIDPOINT` v is the same for all. Shapes: x (N, ...) to (N,). Source: Hutchinson 1990;
    FFJORD, Grathwohl et al. 2019, section 3.1.
    """

    def drawn(self, x: Tensor, generator: Generator) -> Drawn:
        probe = signs(x, generator)

        def divergence(product: Product, x: Tensor) -> Tensor:
            return _dot(probe, _times(product, probe))

        return divergence


def _times(product: Product, v: Tensor) -> Tensor:
    return product(v.unsqueeze(1)).squeeze(1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


@dataclass(frozen=True)
class _Settled:
    """The first terms of the series with given probes; gradients are its own."""

    probe: Tensor

    def __call__(self, product: Product, x: Tensor) -> Tensor:
        power, value = self.probe, self.probe.new_zeros(x.shape[0])
        for k in range(1, SETTLED_TERMS + 1):
            power = _times(product, power)
            value = value - (-1) ** k / k * _dot(self.probe, power)
        return value


@dataclass(frozen=True)
class _Series:
    """One draw of the series, and of its gradient, which is not that of this draw."""

    probe: Tensor
    terms: Tensor
    exact_terms: int
    p: float

    def __call__(self, product: Product, x: Tensor) -> Tensor:
        value, direction = self._value_and_direction(product)
        if not torch.is_grad_enabled():
            return value
        gradient = _dot(self.probe, _times(product, direction))
        return value + gradient - gradient.detach()

    @torch.no_grad()
    def _value_and_direction(self, product: Product) -> tuple[Tensor, Tensor]:
        """The estimate, and Σ (−1)ᵏ Jᵏv / P(N ≥ k)."""
        power = direction = self.probe
        value = self.probe.new_zeros(len(self.probe))
        for k in range(1, int(self.terms.max()) + 1):
            power = _times(product, power)
            survival = (1 - self.p) ** max(0, k - self.exact_terms - 1)
            weight = (self.terms >= k).to(power) * ((-1) ** k / survival)
            value = value - weight / k * _dot(self.probe, power)
            direction = direction + weight.view(-1, *[1] * (power.dim() - 1)) * power
        return value, direction


def signs(x: Tensor, generator: Generator) -> Tensor:
    """A random sign for each number of x, of its shape; with `MIDPOINT` the same for all examples.

    >>> signs(torch.zeros(2, 3), MIDPOINT).unique(dim=0).shape
    torch.Size([1, 3])
    """
    shape = NoiseSpec(tuple(x.shape[1:]))
    if generator is MIDPOINT:
        settled = torch.Generator().manual_seed(SETTLED_SEED)
        return torch.where(draw(shape, 1, x, generator=settled) < 0, -1.0, 1.0).to(x).expand_as(x)
    return torch.where(draw(shape, x.shape[0], x, generator=generator) < 0, -1.0, 1.0).to(x)


def _uniform(x: Tensor, generator: Generator) -> Tensor:
    """One number in (0, 1) for all of a batch, however many processes share it; or one each."""
    if isinstance(generator, OfEach):
        return torch.sigmoid(draw(NoiseSpec((), "logistic"), x.shape[0], x, generator=generator))
    whole = generator.generator if isinstance(generator, Portion) else generator
    return torch.sigmoid(draw(NoiseSpec((), "logistic"), 1, x, generator=whole)).expand(x.shape[0])


class Estimable(Protocol):
    """A bijection whose log-determinant can be had in another way than its own."""

    def forward_by(
        self, estimate: Drawn, x: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]: ...

    def inverse_by(
        self, estimate: Drawn, y: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]: ...


class ThenEstimated(Then):
    """`Then` with an estimated log-determinant: E[log p̂(x)] = log p(y) + ladj, y = bijection(x).

    The noises are those of `density`, and exact. `decode`, which takes no generator, estimates as
    `MIDPOINT` does: repeatable, and for the residual series off by what 20 terms leave out.

    Args:
        bijection: a `Residual` or an `Integrate`, whose own way to the log-determinant is not used;
            or a `Chain` with some among others, for each of which anew it is drawn.
        density: of y.
        estimator: `RussianRoulette(...)` for a residual, `Hutchinson()` for an integral.
        in_training: another one for training mode, such as with fewer exact terms.
        shape: of one example x, where it is known: inputs are then held against it.

    Raises:
        GlowkitError: as `Then`.

    >>> from glowkit.bijections import ExactLogDet, Residual
    >>> from glowkit.densities import StandardNormal
    >>> from glowkit.nets import lipschitz_mlp
    >>> block = Residual(lipschitz_mlp(3, 8, 1, bound=0.5), ExactLogDet())
    >>> model = ThenEstimated(block, StandardNormal((3,)), RussianRoulette())
    >>> model.log_prob(torch.zeros(2, 3)).shape, model.log_p_kind
    (torch.Size([2]), 'estimate')
    """

    def __init__(
        self,
        bijection: Estimable | Chain,
        density: Density,
        estimator: Estimator,
        in_training: Estimator | None = None,
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(cast(Bijection, bijection), density, shape)
        self.estimator = estimator
        self.in_training = in_training or estimator

    @property
    def log_p_kind(self) -> LogPKind:
        return "estimate"

    def _forward(
        self, x: Tensor, context: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        estimator = self.in_training if self.training else self.estimator
        return _mapped(self.bijection, False, estimator, x, context, generator)

    def _inverse(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return _mapped(self.bijection, True, self.estimator, y, context, MIDPOINT)


def _mapped(
    bijection: Bijection,
    back: bool,
    estimator: Estimator,
    x: Tensor,
    context: Tensor | None,
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    """A bijection forward or back, with what is estimated of it drawn."""
    if isinstance(bijection, Chain):
        total = x.new_zeros(x.shape[0])
        for part in reversed(list(bijection)) if back else bijection:
            x, ladj = _mapped(part, back, estimator, x, context, generator)
            total = total + ladj
        return x, total
    if not hasattr(bijection, "forward_by"):
        return bijection.inverse(x, context) if back else bijection(x, context)
    of_it = cast(Estimable, bijection)
    return (of_it.inverse_by if back else of_it.forward_by)(
        estimator.drawn(x, generator), x, context
    )
