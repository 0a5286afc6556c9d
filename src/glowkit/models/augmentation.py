"""Vectors with numbers added: the noise densities of VFlow and ANF, and the nest of a CIF."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn

from glowkit.bijections import (
    Affine,
    Autoregressive,
    Coupling,
    Inverse,
    On,
    Permute,
    RationalQuadraticSpline,
)
from glowkit.core import Bijection, Chain, Density
from glowkit.densities import (
    Augmented,
    ConditionalNormal,
    Split,
    StandardNormal,
    Then,
    kept_alone,
    kept_and_context,
)
from glowkit.nets import MADE, MLP

BINS, BOUND = 8, 4.0
"""Of the splines of a variational noise: of e before it is scaled and shifted."""


def variational(config: Any) -> Density:
    """q(e | x, context): eps ~ N(0, I) → splines → scales and shifts → e, all given x.

    Both layers are autoregressive and written from noise to e, the direction of training, so that
    they work from one number on (IAF's, Kingma et al. 2016). VFlow's are couplings.
    """
    size, seen = config.augmented_features, config.dimensions + config.context_features
    layers = [
        Autoregressive(MADE(size, t.parameters_per_channel, config.width, config.depth, seen), t)
        for t in (RationalQuadraticSpline(BINS, BOUND), Affine())
    ]
    last = cast(MADE, layers[-1].net).layers[-1]
    _seeing(cast(nn.Linear, last))
    return Then(Inverse(Chain(layers)), StandardNormal((size,)))


def _seeing(last: nn.Linear) -> None:
    """Let a noise's last layer, interleaved shifts and log scales, start narrow and depend on x.

    Noise that begins alike for every x teaches the flow nothing, nor the flow it: in a CIF, where x
    and e meet nowhere else, the gradients of both are then zero, and stay so.
    """
    last.reset_parameters()
    with torch.no_grad():
        last.weight[1::2] = 0.0
        last.bias[0::2] = 0.0
        last.bias[1::2] = -1.0


NOISES: dict[str, Callable[[Any], Density]] = {
    "normal": lambda config: StandardNormal((config.augmented_features,)),
    "variational": variational,
}
"""Of what is added to a whole flow."""


def extended(config: Any, density: Density) -> Density:
    """VFlow or ANF: numbers from one of `NOISES` beside x, and a density of both."""
    noise = NOISES[config.augmentation](config)
    return Augmented(noise, density, config.dimensions, _seen(config))


def indexed(config: Any, steps: Sequence[Bijection], prior: Density) -> Density:
    """CIF: every step is f(x; u) = f((x + t(u)) · s(u)), with its own u, which then leaves.

    Each is Augmented(q(u | x), Then(the step, Split(p(u | z), the next))), with normal q and p
    whose means and deviations come from a network each, MLPs of the flow's own size. Source:
    Cornish et al. 2020.
    """
    size, extra, context = config.dimensions, config.augmented_features, config.context_features

    def net(inputs: int, outputs: int) -> MLP:
        return MLP(inputs, outputs, config.width, config.depth)

    density = prior
    for step in reversed(steps):
        to_the_front = Permute([*range(size, size + extra), *range(size)])
        moved = Coupling(extra, net(extra, 2 * size), Affine())
        back = Permute([*range(extra, extra + size), *range(extra)])
        layers = Chain([to_the_front, moved, back, On(size, step)])
        left = ConditionalNormal(net(size, 2 * extra), (extra,))
        seeing = net(size + context, 2 * extra)
        _seeing(cast(nn.Linear, seeing.layers[-1]))
        noise = ConditionalNormal(seeing, (extra,))
        inside = Then(layers, Split(size, left, density))
        density = Augmented(noise, inside, size, _seen(config))
    return density


def _seen(config: Any) -> Callable[..., Any]:
    return kept_and_context if config.context_features else kept_alone
