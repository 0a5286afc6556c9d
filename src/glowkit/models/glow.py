"""Glow: squeeze, steps of flow, split; and again."""

from collections.abc import Callable
from dataclasses import dataclass

from glowkit.bijections import (
    Inverse,
    Logit,
    Shift,
    Sigmoid,
    Squeeze,
)
from glowkit.core import Bijection, Chain, Density, GlowkitError
from glowkit.core.chain import MEMORY_MODES
from glowkit.densities import (
    Augmented,
    Classified,
    ConditionalNormal,
    Dequantize,
    Split,
    StandardNormal,
    Then,
    TopPrior,
    Uniform,
    WithContext,
    WithLabels,
    WithVectors,
    inside,
    kept_alone,
    kept_and_context,
)
from glowkit.models.checks import (
    check_at_least,
    check_choice,
    check_sides,
    check_untouched,
    image_shape,
)
from glowkit.models.families import family
from glowkit.models.realnvp import LOGIT_ALPHA
from glowkit.models.steps import (
    ENTRIES,
    GLOW_COUPLINGS,
    HALVES,
    PERMUTATIONS,
    check_transformer,
    step,
)
from glowkit.nets import PRECISIONS, HalfSizeNet, ZeroConv2d, ZeroLinear


@dataclass(frozen=True)
class GlowConfig:
    """Settings of a Glow.

    Args:
        image_shape: channels, height, width; sides divisible by 2^levels.
        levels: L, the scales of the multi-scale architecture.
        steps: K, the steps of flow in each.
        width: channels of the conditioners' hidden layers.
        coupling: "affine", "additive", "mixture" (of logistics), "spline", or "tanh-affine" with a
            bounded scale, as in RealNVP.
        kept_half: "first" or "second": the half of the channels that couplings keep.
        entry: "none", or "preactivation" where conditioners begin with an affine map and ReLU.
        preprocessing: "centre" for v − ½, or "logit" for RealNVP's spread over the real line.
        permutation: "conv1x1" (LU-factored), "conv1x1-plain", "shuffle" or "reverse".
        pixel_levels: the integers 0..pixel_levels−1 that a pixel can be.
        classes: number of class labels that condition the model; 0 for none.
        context_features: instead of classes, length of a vector of numbers that conditions the
            model, given with every example; 0 for none.
        conditioning: what classes or vectors reach: "top", the top prior alone, as in openai/glow,
            or "everywhere", every coupling and split prior too.
        learn_top: whether the top prior's mean and deviation are learned.
        classifier_weight: weight in the loss of a classifier on the top latent, in bits an image;
            0 for no classifier.
        memory: "store", "recompute", "checkpoint" or "reversible", see `glowkit.Chain`.
        precision: "float32", or "bfloat16" for the conditioners alone.
        components: logistics in a "mixture" coupling.
        bins: bins of a "spline" coupling.
        last_kernel: 3, or 1 for a cheaper last convolution of the conditioners.
        dequantization: "uniform", or "variational" for noise that a flow draws given the image.
        dequantization_steps: steps of flow in a "variational" dequantization.
        dequantization_width: channels of its conditioners' hidden layers and of its features.
        augmented_channels: channels of noise beside those of the image (VFlow); 0 for none.
        augmentation: where they come from, "normal" or "variational", a flow's given the image.
        augmentation_steps: of that flow, as for dequantization.
        augmentation_width: of that flow, as for dequantization.

    Raises:
        GlowkitError: for a setting that cannot be.
    """

    image_shape: tuple[int, int, int]
    levels: int = 3
    steps: int = 32
    width: int = 512
    coupling: str = "affine"
    kept_half: str = "first"
    entry: str = "none"
    preprocessing: str = "centre"
    permutation: str = "conv1x1"
    pixel_levels: int = 256
    classes: int = 0
    context_features: int = 0
    conditioning: str = "top"
    learn_top: bool = True
    classifier_weight: float = 0.0
    memory: str = "store"
    precision: str = "float32"
    components: int = 4
    bins: int = 8
    last_kernel: int = 3
    dequantization: str = "uniform"
    dequantization_steps: int = 4
    dequantization_width: int = 32
    augmented_channels: int = 0
    augmentation: str = "normal"
    augmentation_steps: int = 4
    augmentation_width: int = 32

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", image_shape(self.image_shape))
        check_at_least(self, levels=1, steps=1, width=1, classes=0, classifier_weight=0)
        check_at_least(self, context_features=0)
        check_sides(self.image_shape, self.levels)
        check_choice("coupling", self.coupling, GLOW_COUPLINGS)
        check_choice("kept_half", self.kept_half, HALVES)
        check_choice("entry", self.entry, ENTRIES)
        check_choice("preprocessing", self.preprocessing, PREPROCESSINGS)
        check_choice("permutation", self.permutation, PERMUTATIONS)
        check_choice("conditioning", self.conditioning, CONDITIONINGS)
        check_choice("memory", self.memory, MEMORY_MODES)
        check_choice("precision", self.precision, PRECISIONS)
        check_at_least(self, components=1, bins=1, dequantization_steps=1, dequantization_width=1)
        check_at_least(self, augmented_channels=0, augmentation_steps=1, augmentation_width=1)
        check_choice("dequantization", self.dequantization, DEQUANTIZATIONS)
        check_choice("augmentation", self.augmentation, AUGMENTATIONS)
        check_transformer(self)
        if self.last_kernel not in (1, 3):
            raise GlowkitError(f"last_kernel is {self.last_kernel}; it must be 1 or 3")
        if self.dequantization != "variational":
            names = ("dequantization_steps", "dequantization_width")
            check_untouched(self, "dequantization 'variational'", *names)
        if not self.augmented_channels:
            check_untouched(self, "a model with augmented_channels", "augmentation")
        if self.augmentation != "variational":
            names = ("augmentation_steps", "augmentation_width")
            check_untouched(self, "augmentation 'variational'", *names)
        if self.classes and self.context_features:
            raise GlowkitError("a model has classes or context_features; set one of them to 0")
        if not (self.classes or self.context_features):
            check_untouched(self, "a model with classes or context_features", "conditioning")
        if self.classifier_weight and not self.classes:
            raise GlowkitError("classifier_weight needs classes; set classes, or the weight to 0")
        if self.classifier_weight and self.conditioning != "top":
            raise GlowkitError(
                "classifier_weight needs conditioning 'top': a latent that was made with the label"
                " would tell the classifier what to say"
            )


PREPROCESSINGS: dict[str, Callable[[], Bijection]] = {
    "centre": lambda: Shift(-0.5),
    "logit": lambda: Logit(LOGIT_ALPHA),
}

CONDITIONINGS: dict[str, Callable[[GlowConfig], int]] = {
    "top": lambda config: 0,
    "everywhere": lambda config: _features(config),
}
"""How many context features couplings and split priors see."""


@family("glow", GlowConfig)
def build_glow(config: GlowConfig) -> Dequantize:
    """Build a Glow as openai/glow runs it; see `GlowConfig`.

    Departures: the 1x1 convolution is LU-factored by default and packed into C² parameters; the
    permutation-less parts are the same map, parameter for parameter. The latents of every scale
    are whitened, and log-dets are summed in float32 for each example. Conditioning everywhere is
    ours: the context enters couplings through a map that starts as zero (`glowkit.nets.GlowNet`),
    and split priors as channels beside the kept half (`glowkit.densities.kept_and_context`), so
    that a fresh conditional model is the unconditional one.
    """
    channels, *sides = config.image_shape
    inner = _level(config, 0, (channels + config.augmented_channels, *sides))
    if config.augmented_channels:
        seen = kept_and_context if _seen(config) else kept_alone
        inner = Augmented(AUGMENTATIONS[config.augmentation](config), inner, channels, seen)
    before = PREPROCESSINGS[config.preprocessing]()
    density: Density = Then(before, inner, config.image_shape)
    if config.classes:
        density = WithLabels(config.classes, density)
    if config.context_features:
        density = WithVectors(config.context_features, density)
    noise = DEQUANTIZATIONS[config.dequantization](config)
    return Dequantize(noise, density, config.pixel_levels)


def _seen(config: GlowConfig) -> int:
    return CONDITIONINGS[config.conditioning](config)


def _features(config: GlowConfig) -> int:
    return config.classes or config.context_features


def _level(config: GlowConfig, level: int, shape: tuple[int, ...]) -> Density:
    channels, height, width = 4 * shape[0], shape[1] // 2, shape[2] // 2
    seen = _seen(config)
    steps = [step(config, channels, config.width, seen) for _ in range(config.steps)]
    if level == config.levels - 1:
        rest = _top(config, (channels, height, width))
    else:
        half = channels // 2
        prior = ConditionalNormal(ZeroConv2d(half + seen, channels), (half, height, width))
        deeper = _level(config, level + 1, (half, height, width))
        rest = Split(half, prior, deeper, kept_and_context if seen else kept_alone)
    return Then(Chain([Squeeze(), Chain(steps, config.memory)]), rest)


def _top(config: GlowConfig, shape: tuple[int, int, int]) -> Density:
    twice = 2 * shape[0]
    border = ZeroConv2d(twice, twice) if config.learn_top else None
    features = _features(config)
    embedding = ZeroLinear(features, twice) if features else None
    if border is None and embedding is None:
        return StandardNormal(shape)
    prior = TopPrior(shape, border, embedding)
    if not config.classifier_weight:
        return prior
    return Classified(prior, ZeroLinear(shape[0], config.classes), config.classifier_weight)


def variational(config: "GlowConfig") -> Density:
    """A conditional Glow of one level that draws u in the unit cube, given the image.

    eps ~ N(0, I) → squeeze → steps → unsqueeze → sigmoid → u. Every coupling sees features of the
    image, made once a call. The flow is written from noise to u, since that is the direction of
    training: its forward maps, initialisation from data included, are the ones used there.
    Source: Flow++, section 3.1. Departures: the flow is Glow's, with the couplings of the model
    around it, and u keeps the roundings from 0 and 1 that `Dequantize` needs by an affine map whose
    log-determinant counts, where a clamp would let the bound be cheated.
    """
    shape, width = config.image_shape, config.dequantization_width
    last: list[Bijection] = [Sigmoid(inside(config.pixel_levels))]
    return _noise(config, shape, shape[0], config.dequantization_steps, width, last)


def variational_augmentation(config: "GlowConfig") -> Density:
    """The same flow without its sigmoid, of the channels e that are added, given v and classes.

    Source: VFlow (Chen et al. 2020), whose e is squeezed to (0, 1), as pixels are.
    """
    channels, *sides = config.image_shape
    width, shape = config.augmentation_width, (config.augmented_channels, *sides)
    seen = channels + _seen(config)
    return _noise(config, shape, seen, config.augmentation_steps, width, [])


def _noise(
    config: "GlowConfig",
    shape: tuple[int, ...],
    seen: int,
    steps: int,
    width: int,
    last: list[Bijection],
) -> Density:
    layers = [step(config, 4 * shape[0], width, width) for _ in range(steps)]
    flow = Chain([Squeeze(), Chain(layers, config.memory), Inverse(Squeeze()), *last])
    features = HalfSizeNet(seen, width, config.precision)
    return WithContext(features, Then(Inverse(flow), StandardNormal(shape)))


DEQUANTIZATIONS: dict[str, "Callable[[GlowConfig], Density]"] = {
    "uniform": lambda config: Uniform(config.image_shape),
    "variational": variational,
}

AUGMENTATIONS: dict[str, "Callable[[GlowConfig], Density]"] = {
    "normal": lambda config: StandardNormal((config.augmented_channels, *config.image_shape[1:])),
    "variational": variational_augmentation,
}
