"""A step of Glow's flow: actnorm, a permutation, a coupling; and those to choose from."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from glowkit.bijections import (
    Actnorm,
    ActnormConv1x1,
    Additive,
    Affine,
    BoundedAffine,
    Conv1x1,
    Coupling,
    GlowStep,
    LogisticMixture,
    LUMatrix,
    PlainMatrix,
    RationalQuadraticSpline,
    TanhAffine,
    Transformer,
    reverse,
    shuffle,
    swap_halves,
)
from glowkit.core import Bijection, Chain, GlowkitError
from glowkit.models.checks import check_untouched
from glowkit.nets import GlowNet, Preactivation

SPLINE_BOUND = 4.0
"""Where splines become the identity; actnorm keeps nearly all activations within."""

MOST_BINS = 500
"""Of a spline: each takes at least a thousandth of its interval, and half of it stays to learn."""

COUPLINGS: dict[str, Callable[[Any, tuple[int, ...]], Transformer]] = {
    "affine": lambda config, shape: Affine(),
    "bounded-affine": lambda config, shape: BoundedAffine(),
    "additive": lambda config, shape: Additive(),
    "mixture": lambda config, shape: LogisticMixture(config.components),
    "spline": lambda config, shape: RationalQuadraticSpline(config.bins, SPLINE_BOUND),
    "tanh-affine": lambda config, shape: TanhAffine(1, shape),
}
"""Of a config with components and bins, and the shape of one number a channel."""

GLOW_COUPLINGS = ("affine", "additive", "mixture", "spline", "tanh-affine")

PERMUTATIONS: dict[str, Callable[[int], Bijection]] = {
    "conv1x1": lambda channels: Conv1x1(LUMatrix(channels)),
    "conv1x1-plain": lambda channels: Conv1x1(PlainMatrix(channels)),
    "shuffle": shuffle,
    "reverse": reverse,
}

ENTRIES: dict[str, Callable[[int], nn.Module | None]] = {
    "none": lambda channels: None,
    "preactivation": Preactivation,
}
"""What the conditioners begin with."""

HALVES: dict[str, Callable[[Coupling, int], Bijection]] = {
    "first": lambda coupling, channels: coupling,
    "second": lambda coupling, channels: Chain(
        [swap_halves(channels), coupling, swap_halves(channels)]
    ),
}
"""Which half a coupling keeps."""


def check_transformer(config: Any) -> None:
    """Refuse settings of a coupling that cannot be, and those that the coupling chosen ignores."""
    if config.bins > MOST_BINS:
        raise GlowkitError(f"bins is {config.bins}; it must be at most {MOST_BINS}")
    for coupling, setting in (("mixture", "components"), ("spline", "bins")):
        if config.coupling != coupling:
            check_untouched(config, f"coupling {coupling!r}", setting)


def step(config: Any, channels: int, width: int, context_features: int) -> Chain:
    """Actnorm, permutation, coupling; the conditioner has this width, and sees a context."""
    half = channels // 2
    transformer = COUPLINGS[config.coupling](config, (half, 1, 1))
    net = GlowNet(
        half,
        half * transformer.parameters_per_channel,
        width,
        context_features,
        config.precision,
        config.last_kernel,
        ENTRIES[config.entry](half),
    )
    with torch.no_grad():
        net.last.bias.copy_(transformer.start().repeat(half))
    actnorm, permutation = Actnorm(channels), PERMUTATIONS[config.permutation](channels)
    coupling = HALVES[config.kept_half](Coupling(half, net, transformer), channels)
    if isinstance(permutation, Conv1x1):
        mixing = ActnormConv1x1(actnorm, permutation)
        return (
            GlowStep(mixing, coupling)
            if isinstance(coupling, Coupling)
            else Chain([mixing, coupling])
        )
    return Chain([actnorm, permutation, coupling])
