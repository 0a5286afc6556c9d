"""Residual flows of vectors, such as points and rows of tables."""

from collections.abc import Callable
from dataclasses import dataclass

from glowkit.bijections import Actnorm, ContextMoments, ExactLogDet, Residual, Standardize
from glowkit.core import Bijection, Chain, Density, GlowkitError
from glowkit.core.chain import MEMORY_MODES
from glowkit.densities import StandardNormal, Then, WithContext, WithVectors
from glowkit.models.checks import check_at_least, check_choice, check_no_classes
from glowkit.models.families import family
from glowkit.nets import lipschitz_mlp

PREPROCESSINGS: dict[str, Callable[[int], list[Bijection]]] = {
    "none": lambda size: [],
    "standardize": lambda size: [Standardize(size)],
}
"""What stands before all blocks, whose own first actnorm scales what is not standardised."""


@dataclass(frozen=True)
class ResidualConfig:
    """Settings of a residual flow of vectors (N, D), by default of points in the plane.

    Args:
        dimensions: D, at least 1. log p is exact, at the price of D products with a Jacobian.
        blocks: of y = x + g(x), each between two actnorms.
        width: units of each hidden layer of every g, an MLP.
        depth: hidden layers of every g.
        lipschitz: the largest Lipschitz constant of g, in (0, 1). Near 1 a block bends more, and
            sampling takes more iterations.
        preprocessing: "none", or "standardize" for columns in units of their own, with the means
            and deviations of the data, context included; log p stays that of the data's units.
        context_features: length of a vector of numbers that conditions the model, given with every
            example and seen by every g; 0 for none.
        classes: 0; these flows have no class conditions.
        memory: "store" or "checkpoint", see `glowkit.Chain`; "reversible" becomes "checkpoint".

    Raises:
        GlowkitError: for a setting that cannot be.
    """

    dimensions: int = 2
    blocks: int = 10
    width: int = 64
    depth: int = 2
    lipschitz: float = 0.9
    preprocessing: str = "none"
    context_features: int = 0
    classes: int = 0
    memory: str = "store"

    def __post_init__(self) -> None:
        check_at_least(self, dimensions=1, blocks=1, width=1, depth=0, context_features=0)
        if not 0 < self.lipschitz < 1:
            raise GlowkitError(
                f"lipschitz is {self.lipschitz}; it must be more than 0 and less than 1, or blocks"
                " could not be inverted"
            )
        check_choice("preprocessing", self.preprocessing, PREPROCESSINGS)
        check_choice("memory", self.memory, MEMORY_MODES)
        check_no_classes("a residual flow", self.classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return (self.dimensions,)


@family("residual", ResidualConfig)
def build_residual(config: ResidualConfig) -> Density:
    """Build a residual flow of vectors; see `ResidualConfig`. log p is exact, in nats.

    With context features it is log p(x | context), of a context (N, context_features).

    After the toy models of Chen et al. 2019 (rtqichen/residual-flows, `train_toy.py`): actnorm,
    then blocks with an actnorm behind each; MLPs with LipSwish. Departures: the log-determinant is
    exact, of the whole Jacobian, where the reference estimates it or takes its brute force; the
    spectral norms are exact; no LipSwish before the first layer of g.
    """
    size = config.dimensions
    layers: list[Bijection] = [Actnorm(size)]
    for _ in range(config.blocks):
        net = lipschitz_mlp(
            size, config.width, config.depth, config.lipschitz, config.context_features
        )
        layers += [Residual(net, ExactLogDet(), config.lipschitz), Actnorm(size)]
    chain = Chain(layers, config.memory)
    if before := PREPROCESSINGS[config.preprocessing](size):
        chain = Chain([*before, chain])
    density: Density = Then(chain, StandardNormal((size,)), config.shape)
    if not (features := config.context_features):
        return density
    if config.preprocessing == "standardize":
        density = WithContext(ContextMoments(features), density)
    return WithVectors(features, density)
