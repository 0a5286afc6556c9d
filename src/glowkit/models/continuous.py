"""Continuous flows of vectors, such as points and rows of tables: FFJORD, and flow matching."""

from collections.abc import Callable
from dataclasses import dataclass

from glowkit.bijections import Actnorm, ContextMoments, ExactDivergence, Integrate, Standardize
from glowkit.bijections.continuous import TIME_FEATURES
from glowkit.core import Bijection, Chain, Density
from glowkit.densities import (
    Hutchinson,
    Matched,
    MatchedEstimated,
    StandardNormal,
    Then,
    ThenEstimated,
    WithContext,
    WithVectors,
)
from glowkit.models.checks import check_at_least, check_choice, check_no_classes
from glowkit.models.families import family
from glowkit.nets import velocity_mlp

BEFORE: dict[str, Callable[[int], Bijection]] = {"none": Actnorm, "standardize": Standardize}


@dataclass(frozen=True)
class ContinuousConfig:
    """Settings of a continuous flow of vectors (N, D), by default of points in the plane.

    Args:
        dimensions: D, at least 1.
        width: units of each hidden layer of the field, an MLP with swishes.
        depth: hidden layers of the field, at least 1.
        steps: of Runge and Kutta's method, 4 evaluations each, from data to noise and back.
        training: "likelihood", which integrates at every step of training (FFJORD), or "matching",
            which regresses the field (flow matching): some 4 · steps times as fast a step.
        divergence: "exact", at the price of D products with a Jacobian an evaluation of the field,
            or "hutchinson", an unbiased estimate of it by one, which makes log p an estimate
            (FFJORD's own way; for large D).
        preprocessing: "none", where an actnorm, which flow matching leaves as it starts, scales
            coordinates, or "standardize", by the moments of the data, context included. log p stays
            that of the data's units.
        context_features: length of a vector of numbers that conditions the model, given with every
            example and seen by the field; 0 for none.
        classes: 0; these flows have no class conditions.

    Raises:
        GlowkitError: for a setting that cannot be.
    """

    dimensions: int = 2
    width: int = 64
    depth: int = 3
    steps: int = 20
    training: str = "matching"
    divergence: str = "exact"
    preprocessing: str = "none"
    context_features: int = 0
    classes: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, dimensions=1, width=1, depth=1, steps=1, context_features=0)
        check_choice("training", self.training, TRAININGS)
        check_choice("divergence", self.divergence, DIVERGENCES)
        check_choice("preprocessing", self.preprocessing, BEFORE)
        check_no_classes("a continuous flow", self.classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return (self.dimensions,)


DIVERGENCES: dict[str, Hutchinson | None] = {"exact": None, "hutchinson": Hutchinson()}
"""What estimates the divergence; None where it is exact."""


def _by_likelihood(
    before: Bijection, flow: Integrate, shape: tuple[int, ...], estimator: Hutchinson | None
) -> Density:
    chain, prior = Chain([before, flow]), StandardNormal(shape)
    if estimator is None:
        return Then(chain, prior, shape)
    return ThenEstimated(chain, prior, estimator, shape=shape)


def _by_matching(
    before: Bijection, flow: Integrate, shape: tuple[int, ...], estimator: Hutchinson | None
) -> Density:
    prior = StandardNormal(shape)
    if estimator is None:
        return Matched(before, flow, prior, shape)
    return MatchedEstimated(before, flow, prior, shape, estimator)


Way = Callable[[Bijection, Integrate, tuple[int, ...], Hutchinson | None], Density]
TRAININGS: dict[str, Way] = {"likelihood": _by_likelihood, "matching": _by_matching}


@family("continuous", ContinuousConfig)
def build_continuous(config: ContinuousConfig) -> Density:
    """Build a continuous flow of vectors; see `ContinuousConfig`. log p is in nats.

    With context features it is log p(x | context), of a context (N, context_features).

    After FFJORD (Grathwohl et al. 2019) and flow matching (Lipman et al. 2023). Departures: fixed
    steps, where FFJORD's solver adapts them; the divergence exact as it comes; time enters the
    field's first layer, as five features; no regularisation of the path.
    """
    size, features = config.dimensions, config.context_features
    net = velocity_mlp(size, config.width, config.depth, TIME_FEATURES + features)
    flow = Integrate(net, config.steps, ExactDivergence())
    before = BEFORE[config.preprocessing](size)
    estimator = DIVERGENCES[config.divergence]
    density = TRAININGS[config.training](before, flow, config.shape, estimator)
    if not features:
        return density
    if config.preprocessing == "standardize":
        density = WithContext(ContextMoments(features), density)
    return WithVectors(features, density)
