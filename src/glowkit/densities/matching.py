"""Flow matching: a continuous flow that is trained without integrating it."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from glowkit.core import Bijection, Chain, Density, Generator, sum_per_example
from glowkit.core.noise import NoiseSpec, draw
from glowkit.densities.compose import Then
from glowkit.densities.context import WithContext, WithVectors
from glowkit.densities.estimated import Estimator, ThenEstimated


class Field(Protocol):
    """A bijection that follows a velocity field, such as `glowkit.bijections.Integrate`."""

    def velocity(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor: ...


class _Matching(Then):
    """What `Matched` and `MatchedEstimated` share."""

    def matching_loss(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> Tensor:
        """What flow matching minimises, of each example: (N,), no likelihood."""
        before, flow = self.bijection.bijections  # type: ignore[misc]
        with torch.no_grad():
            z, _ = before(x, context)
        start = draw(NoiseSpec(tuple(z.shape[1:])), len(z), z, generator=generator)
        t = torch.sigmoid(draw(NoiseSpec((), "logistic"), len(z), z, generator=generator))
        share = t.view(-1, *[1] * (z.dim() - 1))
        velocity = flow.velocity((1 - share) * start + share * z, t, context)
        return sum_per_example((velocity - (z - start)).square())


class Matched(_Matching):
    """`Then(Chain([before, flow]), prior)`, whose training regresses a velocity.

    `matching_loss` of an example: |f(z_t, t) − (z − ε)|² with z = before(x), z_t = (1 − t) ε + t z,
    t uniform and ε standard normal: at its minimum f carries the prior to the data along the
    conditional mean of z − ε (Lipman et al. 2023, sections 3 and 4, with σ_min = 0). It takes one
    evaluation of the field where a likelihood takes 4 a step, and no divergence. log p is `Then`'s.

    Args:
        before: a fixed bijection that brings data to the scale of the prior; it gets no gradient.
        flow: a bijection with a `velocity`, from t = 1, data, to t = 0, noise.
        prior: a standard normal.
        shape: of one example.
    """

    def __init__(
        self, before: Bijection, flow: Bijection, prior: Density, shape: Sequence[int]
    ) -> None:
        super().__init__(Chain([before.requires_grad_(False), flow]), prior, shape)
        assert callable(getattr(flow, "velocity", None))


class MatchedEstimated(_Matching, ThenEstimated):
    """`Matched`, whose log p is an estimate: that of `ThenEstimated`.

    Args:
        estimator: of the divergence, such as `Hutchinson()`.
    """

    def __init__(
        self,
        before: Bijection,
        flow: Bijection,
        prior: Density,
        shape: Sequence[int],
        estimator: Estimator,
    ) -> None:
        chain = Chain([before.requires_grad_(False), flow])
        super().__init__(chain, prior, estimator, shape=shape)
        assert callable(getattr(flow, "velocity", None))


def matching_loss(
    model: Density, x: Tensor, context: Tensor | None = None, generator: Generator = None
) -> Tensor | None:
    """That of the `Matched` flow a model is, its context checked and standardised; else None."""
    while isinstance(model, WithVectors | WithContext):
        context = model.given(context, len(x))
        model = model.density
    return model.matching_loss(x, context, generator) if isinstance(model, _Matching) else None
