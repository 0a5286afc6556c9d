"""Densities made of others: a bijection before one, and a split in two."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from glowkit.core import (
    Bijection,
    Density,
    Generator,
    GlowkitError,
    LogPKind,
    NoiseSpec,
    nan_where_broken,
    weakest,
)
from glowkit.core.checking import check_context, check_examples, check_noises


class Then(Density):
    """The density of x when y = bijection(x) follows another: log p(x) = log p(y) + ladj.

    The change of variables formula. The noises are those of `density`.

    Args:
        bijection: maps x to y.
        density: of y.
        shape: of one example x, where it is known: inputs are then held against it.

    Raises:
        GlowkitError: where the shape is known, for an x of another shape, dtype or device, noises
            that `encode` would not give, or a context that nothing reads.

    >>> import torch
    >>> from glowkit.bijections import ElementwiseAffine
    >>> from glowkit.densities import StandardNormal
    >>> model = Then(ElementwiseAffine((1,)), StandardNormal((1,)))
    >>> noises, log_p = model.encode(torch.ones(1, 1))
    >>> model.decode(noises)[0].item()
    1.0
    """

    def __init__(
        self, bijection: Bijection, density: Density, shape: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.bijection = bijection
        self.density = density
        self.shape = None if shape is None else tuple(shape)
        self.classes = density.classes

    @property
    def reads_context(self) -> bool:
        return self.density.reads_context or self.bijection.reads_context

    @property
    def log_p_kind(self) -> LogPKind:
        return self.density.log_p_kind

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        if self.shape is not None:
            check_examples(x, self.shape, self.anchor)
            check_context(self, context)
        y, ladj = self._forward(x, context, generator)
        noises, log_p = self.density.encode(y, context, generator)
        return noises, log_p + ladj

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if self.shape is not None:
            check_noises(noises, self.noise_specs(), self.anchor)
            check_context(self, context)
        y, log_p = self.density.decode(noises, context)
        x, ladj = self._inverse(y, context)
        return x, nan_where_broken(x, log_p - ladj)

    def _forward(
        self, x: Tensor, context: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        return self.bijection(x, context)

    def _inverse(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse(y, context)

    def noise_specs(self) -> list[NoiseSpec]:
        return self.density.noise_specs()

    def extra_repr(self) -> str:
        return "" if self.shape is None else f"of {self.shape}"


def kept_alone(x1: Tensor, context: Tensor | None) -> Tensor:
    """What the prior of a split sees: the kept channels, whatever the context."""
    return x1


def kept_and_context(x1: Tensor, context: Tensor | None) -> Tensor:
    """What the prior of a split sees: the kept channels, then the context as channels.

    Shapes: x1 (N, C, ...), context (N, features), the same everywhere, to (N, C + features, ...).

    Raises:
        GlowkitError: without a context.
    """
    if context is None:
        raise GlowkitError("this split needs a context and got none")
    space = x1.shape[2:]
    beside = context.to(x1.dtype)[(..., *[None] * len(space))].expand(-1, -1, *space)
    return torch.cat([x1, beside], dim=1)


class Split(Density):
    """Keep the first channels, and give the others to a prior that sees the kept ones.

    log p(x) = log prior(x₂ | x₁) + log deeper(x₁). The dropped half's noise leaves first. Shapes:
    (N, C, ...) with the last `prior` channels dropped. Source: RealNVP, section 3.6; Glow's learned
    conditional prior, openai/glow `split2d`. That the prior can see the context too is ours.

    Args:
        kept: how many channels go on.
        prior: density of the dropped channels, conditioned on what `seen` makes of the kept ones.
        deeper: density of the kept channels, which gets the outer context.
        seen: `kept_alone`, or `kept_and_context`.
    """

    def __init__(
        self,
        kept: int,
        prior: Density,
        deeper: Density,
        seen: Callable[[Tensor, Tensor | None], Tensor] = kept_alone,
    ) -> None:
        super().__init__()
        self.kept = kept
        self.prior = prior
        self.deeper = deeper
        self.seen = seen
        self.classes = deeper.classes

    @property
    def reads_context(self) -> bool:
        return self.seen is not kept_alone or self.deeper.reads_context

    @property
    def log_p_kind(self) -> LogPKind:
        return weakest(self.prior.log_p_kind, self.deeper.log_p_kind)

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        x1, x2 = x[:, : self.kept], x[:, self.kept :]
        early, log_p2 = self.prior.encode(x2, self.seen(x1, context), generator)
        late, log_p1 = self.deeper.encode(x1, context, generator)
        return early + late, log_p1 + log_p2

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        early = len(self.prior.noise_specs())
        x1, log_p1 = self.deeper.decode(noises[early:], context)
        x2, log_p2 = self.prior.decode(noises[:early], self.seen(x1, context))
        return torch.cat([x1, x2], dim=1), log_p1 + log_p2

    def mean_and_log_std(self, x1: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """m and ln s of the dropped channels given the kept ones, each of their shape.

        Raises:
            GlowkitError: when the prior is not a normal one that says them.
        """
        of_prior: Any = getattr(self.prior, "mean_and_log_std", None)
        if of_prior is None:
            raise GlowkitError(
                f"the prior of this split is {type(self.prior).__name__}, which has no mean and"
                " deviation; use ConditionalNormal"
            )
        mean, log_std = of_prior(self.seen(x1, context))
        return mean, log_std

    def noise_specs(self) -> list[NoiseSpec]:
        return self.prior.noise_specs() + self.deeper.noise_specs()

    def extra_repr(self) -> str:
        return f"keeps {self.kept} channels"
