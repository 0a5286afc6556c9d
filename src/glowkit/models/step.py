"""One step of Glow: names in a config become bijections."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from glowkit.bijections import (
    Actnorm,
    ActnormConv1x1,
    Additive,
    Affine,
    Conv1x1,
    Coupling,
    LogisticMixture,
    LUMatrix,
    PlainMatrix,
    RationalQuadraticSpline,
    Transformer,
    reverse,
    shuffle,
)
from glowkit.core import Bijection, Chain
from glowkit.nets import GlowNet

if TYPE_CHECKING:
    from glowkit.models.glow import GlowConfig

SPLINE_BOUND = 4.0
"""Where splines become the identity; actnorm keeps nearly all activations within."""

MOST_BINS = 500
"""Of a spline: each takes at least a thousandth of its interval, and half of it stays to learn."""

COUPLINGS: dict[str, "Callable[[GlowConfig], Transformer]"] = {
    "affine": lambda config: Affine(),
    "additive": lambda config: Additive(),
    "mixture": lambda config: LogisticMixture(config.components),
    "spline": lambda config: RationalQuadraticSpline(config.bins, SPLINE_BOUND),
}

PERMUTATIONS: dict[str, Callable[[int], Bijection]] = {
    "conv1x1": lambda channels: Conv1x1(LUMatrix(channels)),
    "conv1x1-plain": lambda channels: Conv1x1(PlainMatrix(channels)),
    "shuffle": shuffle,
    "reverse": reverse,
}


def step(config: "GlowConfig", channels: int, width: int = 0, context_features: int = 0) -> Chain:
    """Actnorm, permutation, coupling; the width is the config's unless another is given."""
    half = channels // 2
    transformer = COUPLINGS[config.coupling](config)
    net = GlowNet(
        half,
        half * transformer.parameters_per_channel,
        width or config.width,
        context_features,
        config.precision,
        config.last_kernel,
    )
    with torch.no_grad():
        net.last.bias.copy_(transformer.start().repeat(half))
    actnorm, permutation = Actnorm(channels), PERMUTATIONS[config.permutation](channels)
    coupling = Coupling(half, net, transformer)
    if isinstance(permutation, Conv1x1):
        return Chain([ActnormConv1x1(actnorm, permutation), coupling])
    return Chain([actnorm, permutation, coupling])
