"""Flows of vectors, such as points and rows of tables: of couplings, or autoregressive."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from glowkit.bijections import (
    Actnorm,
    Autoregressive,
    ContextMoments,
    Coupling,
    ElementwiseScale,
    Inverse,
    MaskedBatchNorm,
    Planar,
    Radial,
    Softplus,
    Standardize,
    Transformer,
)
from glowkit.core import Bijection, Chain, Density, GlowkitError
from glowkit.core.chain import MEMORY_MODES
from glowkit.densities import Absolute, Then, WithContext, WithVectors
from glowkit.models.augmentation import NOISES, extended, indexed
from glowkit.models.checks import (
    check_at_least,
    check_choice,
    check_no_classes,
    check_untouched,
)
from glowkit.models.families import family
from glowkit.models.nice import PRIORS
from glowkit.models.steps import COUPLINGS, PERMUTATIONS, check_transformer
from glowkit.nets import MADE, MLP


def _before_each(norm: Callable[[int], Bijection]) -> "Normalization":
    def place(dimensions: int, steps: list[list[Bijection]]) -> list[Bijection]:
        return [layer for step in steps for layer in (norm(dimensions), *step)]

    return place


def _scale_at_the_end(dimensions: int, steps: list[list[Bijection]]) -> list[Bijection]:
    return [*(layer for step in steps for layer in step), ElementwiseScale((dimensions,))]


Normalization = Callable[[int, list[list[Bijection]]], list[Bijection]]

NORMALIZATIONS: dict[str, Normalization] = {
    "actnorm": _before_each(Actnorm),
    "batch-norm": _before_each(lambda size: MaskedBatchNorm(size, torch.ones(size, device="cpu"))),
    "diagonal": _scale_at_the_end,
}

LAYERS: dict[str, Callable[[int], Bijection]] = {"planar": Planar, "radial": Radial}
"""What is a step by itself, with no conditioner, permutation or context."""

AUGMENTATIONS = (*NOISES, "indexed")

POINTS_COUPLINGS = ("affine", "bounded-affine", "additive", "mixture", "spline", *LAYERS)


@dataclass(frozen=True)
class PointsConfig:
    """Settings of a flow of vectors (N, D), by default of points in the plane.

    Args:
        dimensions: D, at least 2 where there are couplings.
        steps: of flow, each a normalisation, a permutation and a layer of the structure.
        width: units of each hidden layer of the conditioners, which are MLPs.
        depth: hidden layers of the conditioners.
        structure: "coupling", which transforms half of the coordinates given the other half and is
            as fast both ways, or "autoregressive", which transforms each given all before it and
            takes D times as long to sample.
        coupling: how coordinates are transformed, in either structure: "affine", "bounded-affine",
            "additive", "mixture" (of logistics) or "spline"; or "planar" or "radial", whose layers
            stand by themselves, without a structure, permutation, conditioner or context.
        permutation: "conv1x1" (a linear layer, LU-factored), "conv1x1-plain", "shuffle", "reverse".
        preprocessing: "none", or "standardize" for columns in units of their own, with the means
            and deviations of the data, context included; log p stays that of the data's units. Or
            "absolute" for a density that stays the same when any coordinate's sign is turned: the
            flow is of their absolute values, and signs are even choices.
        normalization: "actnorm" or "batch-norm" in each step, or one "diagonal" scaling at the end.
        components: logistics in a "mixture" coupling.
        bins: bins of a "spline" coupling.
        prior: "normal" or "logistic".
        augmented_features: numbers A that are added to each example, so that log p is a lower
            bound; 0 for none.
        augmentation: where they come from: "normal" or "variational", noise or a flow's given the
            example, for a flow of D + A numbers; or "indexed", where every step has A of its own,
            which bend it and then leave (a CIF).
        context_features: length of a vector of numbers that conditions the model, given with every
            example and seen by every conditioner; 0 for none.
        classes: 0; these flows have no class conditions.
        memory: "store", "checkpoint" or "reversible", see `glowkit.Chain`; with batch norm or an
            autoregressive structure the last becomes "checkpoint".

    Raises:
        GlowkitError: for a setting that cannot be.
    """

    dimensions: int = 2
    steps: int = 8
    width: int = 64
    depth: int = 2
    structure: str = "coupling"
    coupling: str = "spline"
    permutation: str = "conv1x1"
    preprocessing: str = "none"
    normalization: str = "actnorm"
    components: int = 8
    bins: int = 16
    prior: str = "normal"
    augmented_features: int = 0
    augmentation: str = "normal"
    context_features: int = 0
    classes: int = 0
    memory: str = "store"

    def __post_init__(self) -> None:
        check_at_least(self, dimensions=1, steps=1, width=1, depth=0, components=1, bins=1)
        check_at_least(self, context_features=0, augmented_features=0)
        check_choice("structure", self.structure, STRUCTURES)
        check_choice("coupling", self.coupling, POINTS_COUPLINGS)
        if self.coupling in LAYERS:
            names = ("width", "depth", "structure", "permutation", "context_features")
            check_untouched(self, "a coupling with a network, such as 'affine',", *names)
        elif self.flow_dimensions == 1 and self.structure == "coupling":
            raise GlowkitError(
                "dimensions is 1; it must be at least 2 for structure 'coupling', which needs one"
                " to keep and one to transform: choose structure 'autoregressive'"
            )
        check_choice("permutation", self.permutation, PERMUTATIONS)
        check_choice("preprocessing", self.preprocessing, PREPROCESSINGS)
        check_choice("normalization", self.normalization, NORMALIZATIONS)
        check_choice("prior", self.prior, PRIORS)
        check_choice("augmentation", self.augmentation, AUGMENTATIONS)
        if not self.augmented_features:
            check_untouched(self, "a model with augmented_features", "augmentation")
        if self.augmentation == "indexed" and self.normalization == "diagonal":
            raise GlowkitError(
                "augmentation 'indexed' needs a normalization in each step, and not one at the end:"
                " choose normalization 'actnorm' or 'batch-norm'"
            )
        check_choice("memory", self.memory, MEMORY_MODES)
        check_no_classes("a flow of points", self.classes)
        check_transformer(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return (self.dimensions,)

    @property
    def flow_dimensions(self) -> int:
        """Of what the steps transform: D, and what is added for all of them."""
        added = 0 if self.augmentation == "indexed" else self.augmented_features
        return self.dimensions + added


@family("points", PointsConfig)
def build_points(config: PointsConfig) -> Density:
    """Build a flow of vectors; see `PointsConfig`. No dequantization: log p is exact, in nats.

    But for augmented features, with which it is a lower bound; see `glowkit.densities.Augmented`.

    With context features it is log p(x | context), of a context (N, context_features).

    After tatsy's normalizing-flows-pytorch, which has Glow and RealNVP on points. Departures:
    conditioners are plain ReLU MLPs (there: two residual blocks with batch norm) whose last layer
    starts as the identity coupling; `Actnorm` and `MaskedBatchNorm` are those of images, the latter
    with ε = 1e-4 (there 1e-5) and gradients through the batch's moments (there detached). The
    couplings "affine" and "mixture" are openai/glow's and Flow++'s; "spline" is Durkan et al. 2019.
    The autoregressive structure is MAF's (Papamakarios et al. 2017), with actnorm where that has
    batch norm, and with plain MLPs where Durkan et al. have residual nets.
    """
    density = PREPROCESSINGS[config.preprocessing](config)
    if not (features := config.context_features):
        return density
    if config.preprocessing == "standardize":
        density = WithContext(ContextMoments(features), density)
    return WithVectors(features, density)


def _plain(config: PointsConfig, *before: Bijection) -> Then:
    """The flow of x, with these layers before it."""
    if config.augmented_features:
        return Then(Chain(before), _augmented(config), config.shape)
    flow = _flow(config, config.steps)
    return Then(Chain([*before, flow]) if before else flow, _prior(config), config.shape)


def _symmetric(config: PointsConfig) -> Density:
    """Of positive numbers, which are brought to the whole line: nothing is given to others."""
    folded = Absolute(config.shape, _plain(config, Inverse(Softplus())))
    return Then(Chain([]), folded, config.shape)


def _flow(config: PointsConfig, steps: int) -> Chain:
    layers = [_step(config) for _ in range(steps)]
    place = NORMALIZATIONS[config.normalization]
    return Chain(place(config.flow_dimensions, layers), config.memory)


def _prior(config: PointsConfig) -> Density:
    return PRIORS[config.prior]((config.flow_dimensions,))


def _augmented(config: PointsConfig) -> Density:
    if config.augmentation == "indexed":
        steps = [_flow(config, 1) for _ in range(config.steps)]
        return indexed(config, steps, _prior(config))
    return extended(config, Then(_flow(config, config.steps), _prior(config)))


def _step(config: PointsConfig) -> list[Bijection]:
    size = config.flow_dimensions
    if config.coupling in LAYERS:
        return [LAYERS[config.coupling](size)]
    mixing = PERMUTATIONS[config.permutation](size)
    return [mixing, STRUCTURES[config.structure](config)]


def _coupling(config: PointsConfig) -> Coupling:
    kept = config.flow_dimensions // 2
    changed = config.flow_dimensions - kept
    transformer = COUPLINGS[config.coupling](config, (changed,))
    outputs = changed * transformer.parameters_per_channel
    net = MLP(kept, outputs, config.width, config.depth, config.context_features)
    _start(config, net.layers[-1], transformer, changed)
    return Coupling(kept, net, transformer)


def _autoregressive(config: PointsConfig) -> Autoregressive:
    size = config.flow_dimensions
    transformer = COUPLINGS[config.coupling](config, (size,))
    outputs, features = transformer.parameters_per_channel, config.context_features
    net = MADE(size, outputs, config.width, config.depth, features)
    _start(config, net.layers[-1], transformer, size)
    return Autoregressive(net, transformer)


def _start(
    config: PointsConfig, last: torch.nn.Module, transformer: Transformer, size: int
) -> None:
    """Let a conditioner's last layer, whose weights are zero, give what a fresh map should have.

    Not zero where numbers are added: as long as these tell nothing of x, nor x of them, the
    gradients of couplings between the two are zero, and a model of an ANF would stay a Gaussian.
    """
    assert isinstance(last, torch.nn.Linear)
    if config.flow_dimensions > config.dimensions:
        last.reset_parameters()
    with torch.no_grad():
        last.bias.copy_(transformer.start().repeat(size))


STRUCTURES: dict[str, Callable[[PointsConfig], Bijection]] = {
    "coupling": _coupling,
    "autoregressive": _autoregressive,
}

PREPROCESSINGS: dict[str, Callable[[PointsConfig], Density]] = {
    "none": _plain,
    "standardize": lambda config: _plain(config, Standardize(config.dimensions)),
    "absolute": _symmetric,
}
