"""Autoregressive models of images: causal transformers, ordinal or as TarFlow."""

from collections.abc import Callable
from dataclasses import dataclass

from glowkit.bijections import (
    Flip,
    LogisticMixture,
    Patches,
    Scale,
    Shift,
    TarAffine,
    TokenAutoregressive,
    Transformer,
)
from glowkit.core import Bijection, Chain, Density, GlowkitError
from glowkit.core.choice import MOST_CHOICES
from glowkit.densities import (
    FEATURES,
    Dequantize,
    Noisy,
    Ordinal,
    StandardLogistic,
    StandardNormal,
    Then,
    Uniform,
    WithLabels,
)
from glowkit.models.checks import (
    check_at_least,
    check_choice,
    check_heads,
    check_patches,
    check_sides,
    check_untouched,
    image_shape,
)
from glowkit.models.families import family
from glowkit.models.glow import GlowConfig, variational
from glowkit.nets import PRECISIONS, CausalNet


@dataclass(frozen=True)
class AutoregressiveConfig:
    """Settings of an autoregressive model.

    Args:
        image_shape: channels, height, width; sides divisible by `patch`.
        patch: side of the square patches that are the tokens.
        blocks: passes over the tokens, each with a transformer of its own, in alternating order;
            1 for an "ordinal" head.
        layers: of each transformer.
        width: of its tokens.
        heads: of its attention; they divide `width`.
        inner: hidden units, for each dimension of a token, of the head that makes a token's
            dimensions autoregressive; 0 for no such head, which an "ordinal" one needs.
        neighbours: what enters for a token: "above", the one before it and the three above, or
            "previous", the one before it alone, as in TarFlow.
        head: "ordinal", the exact probability of integers; or, for the density of dequantized
            values, "affine" as in TarFlow, or "mixture" (of logistics).
        components: logistics in an "ordinal" or "mixture" head.
        pixel_levels: the integers 0..pixel_levels−1 that a pixel can be; at most 256 if "ordinal".
        classes: number of class labels that condition the model; 0 for none.
        class_dropout: the probability with which training leaves a label out, so that samples can
            be guided (`glowkit.guided`); 0.1 in TarFlow.
        dropout: the probability with which what each half of a layer adds is left out.
        dequantization: "uniform", or "variational" for noise that a flow draws given the image;
            or "normal" for noise of `deviation` in its place, as TarFlow is trained for samples:
            log p is then that of noisy images, in nats and no bits/dim, see
            `glowkit.densities.Noisy`. An "ordinal" head has none.
        deviation: σ of "normal" noise, of pixels in [−1, 1].
        precision: "float32", or "bfloat16" for the transformers alone.

    Raises:
        GlowkitError: for a setting that cannot be.
    """

    image_shape: tuple[int, int, int]
    patch: int = 2
    blocks: int = 1
    layers: int = 3
    width: int = 64
    heads: int = 4
    inner: int = 32
    neighbours: str = "above"
    head: str = "ordinal"
    components: int = 5
    pixel_levels: int = 256
    classes: int = 0
    class_dropout: float = 0.0
    dropout: float = 0.0
    dequantization: str = "uniform"
    deviation: float = 0.05
    precision: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", image_shape(self.image_shape))
        check_at_least(self, patch=1, blocks=1, layers=1, width=1, heads=1, inner=0, components=1)
        check_at_least(self, classes=0, class_dropout=0, dropout=0)
        check_choice("head", self.head, HEADS)
        check_choice("neighbours", self.neighbours, NEIGHBOURS)
        check_choice("dequantization", self.dequantization, DEQUANTIZATIONS)
        check_choice("precision", self.precision, PRECISIONS)
        check_patches(self.image_shape, self.patch)
        check_heads(self)
        for name in ("dropout", "class_dropout"):
            if getattr(self, name) >= 1:
                raise GlowkitError(f"{name} is {getattr(self, name)}; it must be below 1")
        if self.class_dropout and not self.classes:
            raise GlowkitError(
                f"class_dropout is {self.class_dropout}, and there are no classes to leave out; set"
                " classes, or train with --conditional"
            )
        if self.dequantization != "normal":
            check_untouched(self, "dequantization 'normal'", "deviation")
        elif not 0 < self.deviation <= 1:
            raise GlowkitError(
                f"deviation is {self.deviation}; noise on pixels of -1 to 1 takes more than 0"
                " and at most 1, such as 0.05"
            )
        if self.head == "affine":
            check_untouched(self, "head 'ordinal' or 'mixture'", "components")
        if self.head == "ordinal":
            self._check_ordinal()
        elif self.dequantization == "variational":
            check_sides(self.image_shape, 1)

    def _check_ordinal(self) -> None:
        check_untouched(self, "head 'affine' or 'mixture'", "dequantization")
        if self.blocks != 1:
            raise GlowkitError(
                f"blocks is {self.blocks}, but an ordinal head gives integers their probability in"
                " one pass; set blocks to 1, or choose head 'affine' or 'mixture'"
            )
        if not self.inner and self.image_shape[0] * self.patch**2 > 1:
            raise GlowkitError(
                "an ordinal head needs inner, without which the pixels of a patch would be"
                " independent; set it to 1 or more, such as 32"
            )
        if self.pixel_levels > MOST_CHOICES:
            raise GlowkitError(
                f"pixel_levels is {self.pixel_levels}, and an ordinal head takes at most"
                f" {MOST_CHOICES}; use fewer levels (--set pixel_levels=256), or head 'mixture'"
            )


NEIGHBOURS: dict[str, Callable[[AutoregressiveConfig], int]] = {
    "above": lambda config: config.image_shape[2] // config.patch,
    "previous": lambda config: 0,
}
"""How many columns of tokens a network is told of."""


@family("autoregressive", AutoregressiveConfig)
def build_autoregressive(config: AutoregressiveConfig) -> Density:
    """Build an autoregressive model; see `AutoregressiveConfig`.

    With an "ordinal" head it is a `glowkit.densities.Ordinal`, whose log P is exact. With "affine",
    a TarFlow as apple/ml-tarflow runs it: pixels in [−1, 1), patches, blocks whose order of tokens
    alternates, standard normal noise. A "mixture" gives one block Flow++'s mixtures of logistics
    and logistic noise.

    Departures from TarFlow: the first token of a block is transformed too, by learned parameters;
    a fresh model is the identity; |α| ≤ 5; the log-determinant is a sum, where the reference has a
    mean; what makes the reference's samples sharp is not in the density: guidance is
    `glowkit.guided`, and noise is taken out by `glowkit.tasks.guidance`.
    """
    return HEADS[config.head](config)


def _labelled(config: AutoregressiveConfig, density: Density) -> Density:
    classes = config.classes
    return WithLabels(classes, density, config.class_dropout) if classes else density


def _net(config: AutoregressiveConfig, outputs: int, features: int = 1) -> CausalNet:
    channels, height, width = config.image_shape
    return CausalNet(
        channels * config.patch**2,
        (height // config.patch) * (width // config.patch),
        outputs,
        config.width,
        config.layers,
        config.heads,
        config.classes,
        config.inner,
        features,
        NEIGHBOURS[config.neighbours](config),
        config.dropout,
        config.precision,
    )


def _ordinal(config: AutoregressiveConfig) -> Density:
    net = _net(config, 3 * config.components, FEATURES)
    ordinal = Ordinal(config.image_shape, config.pixel_levels, net, config.components)
    return _labelled(config, ordinal)


def _continuous(
    config: AutoregressiveConfig,
    transformer: Callable[[], Transformer],
    prior: Callable[[tuple[int, ...]], Density],
) -> Density:
    recipe = DEQUANTIZATIONS[config.dequantization]
    # A dequantized image lies in [0, 1), and a noisy one is made in [−1, 1] and beyond.
    steps: list[Bijection] = [] if recipe is None else [Shift(-0.5), Scale(2.0)]
    steps.append(Patches(config.image_shape, config.patch))
    for block in range(config.blocks):
        if block:
            steps.append(Flip())
        made = transformer()
        steps.append(TokenAutoregressive(_net(config, made.parameters_per_channel), made))
    channels, height, width = config.image_shape
    tokens = (channels * config.patch**2, (height // config.patch) * (width // config.patch))
    density = _labelled(config, Then(Chain(steps), prior(tokens), config.image_shape))
    if recipe is None:
        return Noisy(density, config.pixel_levels, config.deviation)
    return Dequantize(recipe(config), density, config.pixel_levels)


HEADS: dict[str, Callable[[AutoregressiveConfig], Density]] = {
    "ordinal": _ordinal,
    "mixture": lambda config: _continuous(
        config, lambda: LogisticMixture(config.components), StandardLogistic
    ),
    "affine": lambda config: _continuous(config, TarAffine, StandardNormal),
}


def _variational(config: AutoregressiveConfig) -> Density:
    """Flow++'s noise, by a small conditional Glow."""
    noise = GlowConfig(
        config.image_shape,
        levels=1,
        pixel_levels=config.pixel_levels,
        last_kernel=1,
        precision=config.precision,
        dequantization="variational",
        dequantization_steps=2,
        dequantization_width=24,
    )
    return variational(noise)


DEQUANTIZATIONS: dict[str, Callable[[AutoregressiveConfig], Density] | None] = {
    "uniform": lambda config: Uniform(config.image_shape),
    "variational": _variational,
    "normal": None,
}
"""The densities of u; None where there is no dequantization, but noise on the pixels."""
