"""Residual flows of images: multi-scale, with log-determinants that are estimated."""

from dataclasses import dataclass

from glowkit.bijections import Actnorm, ExactLogDet, Logit, Residual, Squeeze
from glowkit.core import Bijection, Chain, GlowkitError
from glowkit.densities import Dequantize, RussianRoulette, StandardNormal, ThenEstimated, Uniform
from glowkit.models.checks import check_at_least, check_no_classes, check_sides, image_shape
from glowkit.models.families import family
from glowkit.models.realnvp import LOGIT_ALPHA
from glowkit.nets import lipschitz_cnn


@dataclass(frozen=True)
class ResFlowConfig:
    """Settings of a residual flow of images; `ResidualConfig` is for vectors.

    Args:
        image_shape: channels, height, width; sides divisible by 2^(scales − 1).
        scales: sizes of images that blocks work on, each half of the one before.
        blocks: of y = x + g(x) at each scale.
        width: channels of the hidden layers of every g, convolutions of 3x3, 1x1 and 3x3.
        lipschitz: the largest Lipschitz constant of g, in (0, 1).
        training_terms: of the series of every log-determinant that training never leaves out.
        evaluation_terms: that evaluation never leaves out: more make its draws vary less.
        pixel_levels: the integers 0..pixel_levels−1 that a pixel can be.
        classes: 0; these flows have no class conditions.

    Raises:
        GlowkitError: for a setting that cannot be.
    """

    image_shape: tuple[int, int, int]
    scales: int = 3
    blocks: int = 16
    width: int = 512
    lipschitz: float = 0.98
    training_terms: int = 2
    evaluation_terms: int = 20
    pixel_levels: int = 256
    classes: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", image_shape(self.image_shape))
        check_at_least(self, scales=1, blocks=1, width=1, training_terms=0, evaluation_terms=0)
        check_sides(self.image_shape, self.scales - 1)
        if not 0 < self.lipschitz < 1:
            raise GlowkitError(
                f"lipschitz is {self.lipschitz}; it must be more than 0 and less than 1, or blocks"
                " could not be inverted"
            )
        check_no_classes("a residual flow", self.classes)


@family("resflow", ResFlowConfig)
def build_resflow(config: ResFlowConfig) -> Dequantize:
    """Build a residual flow of images; see `ResFlowConfig`. log p is an estimate of a bound.

    Logit with α = 0.05; at each scale an actnorm, and blocks with an actnorm behind each; squeezes
    between scales, and nothing leaves early; standard normal noise. Every block draws its own
    probes and its own number of terms (`RussianRoulette`).

    After Chen et al. 2019 (rtqichen/residual-flows). Departures: operator norms in L2 alone; no
    fully connected blocks at the end; no LipSwish before the first layer of g; norms of
    convolutions are followed by 5 iterations a step, and not to a tolerance.
    """
    channels, height, width = config.image_shape
    layers: list[Bijection] = [Logit(LOGIT_ALPHA)]
    for scale in range(config.scales):
        if scale:
            layers.append(Squeeze())
            channels, height, width = 4 * channels, height // 2, width // 2
        layers.append(Actnorm(channels))
        for _ in range(config.blocks):
            net = lipschitz_cnn(channels, config.width, (height, width), config.lipschitz)
            # Its own way to the log-determinant, exact, is for who takes the block by itself.
            layers += [Residual(net, ExactLogDet(), config.lipschitz), Actnorm(channels)]
    density = ThenEstimated(
        Chain(layers),
        StandardNormal((channels, height, width)),
        RussianRoulette(config.evaluation_terms),
        RussianRoulette(config.training_terms),
        config.image_shape,
    )
    return Dequantize(Uniform(config.image_shape), density, config.pixel_levels)
