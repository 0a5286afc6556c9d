"""The table of densities that draw in `encode`: bounds, estimates, exact ones of choices.

A new density is one row.
"""

import math
from typing import Any

import torch

from glowkit import bijections as b
from glowkit import densities as d
from glowkit.core import Bijection, Chain, Density
from glowkit.models.augmentation import indexed
from glowkit.models.continuous import ContinuousConfig, build_continuous
from glowkit.models.glow import GlowConfig, build_glow
from glowkit.models.points import PointsConfig, build_points
from glowkit.nets import (
    MADE,
    MLP,
    CausalNet,
    GlowNet,
    ZeroConv2d,
    lipschitz_mlp,
    velocity_mlp,
)
from laws.row import Row, cube


def _dequantize(inside: Density, levels: int, noise: Density | None = None) -> Density:
    """Of a density on the unit cube, so that all of its probability is on the integers."""
    return d.Dequantize(noise or d.Uniform(inside.noise_specs()[0].shape), inside, levels)


def _seen_noise(size: int) -> Density:
    """A learned q(u | x)."""
    coupling = b.Coupling(0, MLP(0, 2 * size, width=4, context_features=size), b.Affine())
    return d.Then(Chain([b.Logit(), coupling]), d.StandardNormal((size,)))


def _variational(**settings: Any) -> Density:
    noise = {"dequantization": "variational", "dequantization_steps": 2, "dequantization_width": 5}
    return build_glow(GlowConfig((1, 4, 8), 1, 1, 4, **{**noise, **settings}))


def _vflow(**settings: Any) -> Density:
    added = {"augmented_channels": 1, "augmentation": "variational", "augmentation_steps": 1}
    return build_glow(GlowConfig((1, 4, 8), 2, 1, 4, **added, augmentation_width=4, **settings))


def _points(dimensions: int = 2, **settings: Any) -> Density:
    return build_points(PointsConfig(dimensions, steps=3, width=8, **settings))


def _affine(size: int) -> b.Autoregressive:
    return b.Autoregressive(MADE(size, 2, 8), b.Affine())


def _augmented(noise: Density, size: int) -> d.Augmented:
    layers = [
        _affine(size + 1),
        b.Conv1x1(b.PlainMatrix(size + 1, b.noisy_identity)),
        b.Autoregressive(MADE(size + 1, 14, 8), b.LogisticMixture(4)),
    ]
    return d.Augmented(noise, d.Then(Chain(layers), d.StandardNormal((size + 1,))), kept=size)


def _given(size: int, seen: int) -> Density:
    return d.ConditionalNormal(MLP(seen, 2 * size, width=8), (size,))


def _cif() -> Density:
    config = PointsConfig(1, structure="autoregressive", width=8, augmented_features=1)
    return _wide(indexed(config, [b.Actnorm(1)], d.StandardNormal((1,))))


def _wide(density: Density) -> Density:
    """With a q that is no narrower than the posterior, else p / q has no variance to tell σ by."""
    for part in density.modules():
        if isinstance(part, d.Augmented) and isinstance(part.noise, d.ConditionalNormal):
            with torch.no_grad():
                part.noise.net.layers[-1].bias[1::2] = 0.2
    return density


def _positive(size: int) -> Density:
    layers = [b.Inverse(b.Softplus()), _affine(size)]
    return d.Then(Chain(layers), d.StandardNormal((size,)))


def _half_line() -> Density:
    layers = [b.On(1, b.Inverse(b.Softplus())), _affine(2)]
    return d.Then(Chain(layers), d.StandardNormal((2,)))


def _in_order(size: int, apart: tuple[int, ...] = ()) -> Density:
    """The first member of any size, and positive gaps to those that follow; what is apart is free.

    Gaps are seldom next to 0, where no grid would see the density of their logarithms.
    """
    gaps = b.On(size - 1, Chain([b.Inverse(b.Softplus()), b.Shift(-2.0)]))
    rising: Bijection = Chain([b.Gaps(), b.reverse(size), gaps])
    layers = [rising, _affine(size)]
    if apart:
        flat = size * math.prod(apart)
        firsts_first = torch.arange(flat).view(size, -1).T.flatten().tolist()
        layers = [
            b.Reshape((size, *apart), (flat,)),
            b.Permute(firsts_first),
            b.On(size, rising),
            _affine(flat),
        ]
    return d.Then(Chain(layers), d.StandardNormal((size * math.prod(apart),)))


def _max_pool(index: ZeroConv2d | None = None) -> Density:
    deeper = d.Then(b.Actnorm(2), d.StandardNormal((2, 1, 2)))
    coupling = b.Coupling(3, GlowNet(3, 6, width=4, context_features=10), b.Affine())
    positive = Chain([b.Inverse(b.Softplus()), coupling])
    return d.MaxPool((2, 2, 4), deeper, d.Then(positive, d.StandardNormal((6, 1, 2))), index)


def _estimated_residual(bound: float, context: int = 0) -> Density:
    block = b.Residual(lipschitz_mlp(6, 16, 1, bound, context), b.ExactLogDet())
    return d.ThenEstimated(block, d.StandardNormal((6,)), d.RussianRoulette())


def _estimated_integral() -> Density:
    flow = b.Integrate(velocity_mlp(3, 6, 1, 5), 6, b.ExactDivergence())
    return d.ThenEstimated(flow, d.StandardNormal((3,)), d.Hutchinson())


def _residual_chain() -> Density:
    blocks = [b.Residual(lipschitz_mlp(3, 6, 1, 0.5), b.ExactLogDet()) for _ in range(2)]
    chain = Chain([blocks[0], Chain([b.Actnorm(3), blocks[1]])])
    return d.ThenEstimated(chain, d.StandardNormal((3,)), d.RussianRoulette())


def _matching() -> Density:
    estimated = {"divergence": "hutchinson", "context_features": 2}
    return build_continuous(ContinuousConfig(3, width=6, depth=1, steps=6, **estimated))


def _ordinal(context: int = 0, patch: int = 2) -> Density:
    tokens = 8 // patch**2
    net = CausalNet(patch**2, tokens, 6, 4, 1, 2, context, 3, d.FEATURES, columns=4 // patch)
    return d.Ordinal((1, 2, 4), 3, net, 2)


BIGGER: dict[str, Any] = {"augmented_features": 1, "coupling": "affine"}

DRAWN = [
    Row("augmented-one", lambda: _augmented(d.StandardNormal((1,)), 1), (1,), kind="bound"),
    Row("augmented-seen", lambda: _augmented(_given(1, 1), 1), (1,), kind="bound"),
    Row("cif-one", _cif, (1,), kind="bound"),
    Row("vflow", lambda: _points(**BIGGER, augmentation="variational"), (2,), kind="bound"),
    Row("cif", lambda: _wide(_points(**BIGGER, augmentation="indexed")), (2,), kind="bound"),
    Row(
        "vflow-context",
        lambda: _points(3, **BIGGER, augmentation="variational", context_features=2),
        (3,),
        context=(2,),
        kind="bound",
    ),
    Row(
        "cif-context",
        lambda: _points(3, **BIGGER, augmentation="indexed", context_features=2),
        (3,),
        context=(2,),
        kind="bound",
    ),
    Row("absolute", lambda: d.Absolute((2,), _positive(2)), (2,)),
    Row("absolute-sign", lambda: d.Absolute((2,), _positive(2), MLP(2, 2, width=8)), (2,)),
    Row("absolute-one", lambda: d.Absolute((2,), _half_line(), MLP(2, 1, width=8), 1), (2,)),
    Row("points-absolute", lambda: _points(bins=5, preprocessing="absolute"), (2,)),
    Row("max-pool", _max_pool, (2, 2, 4)),
    Row("max-pool-index", lambda: _max_pool(ZeroConv2d(2, 8)), (2, 2, 4)),
    Row("sorted", lambda: d.Sorted(2, _in_order(2)), (2,)),
    Row("sorted-four", lambda: d.Sorted(4, _in_order(4)), (4,)),
    Row("sorted-vectors", lambda: d.Sorted(3, _in_order(3, (2,))), (3, 2)),
    Row("residual-0.5", lambda: _estimated_residual(0.5), (6,), kind="estimate"),
    Row("residual-0.9", lambda: _estimated_residual(0.9, 2), (6,), (2,), kind="estimate"),
    Row("residual-0.97", lambda: _estimated_residual(0.97), (6,), kind="estimate"),
    Row("integral", _estimated_integral, (3,), law=1e-6, kind="estimate"),
    Row("residual-chain", _residual_chain, (3,), kind="estimate"),
    Row("matching", _matching, (3,), (2,), law=1e-6, kind="estimate"),
    Row("dequantize", lambda: _dequantize(cube(2), 3), (2,), kind="bound", discrete=3),
    Row(
        "dequantize-one",
        lambda: _dequantize(cube(1, coupling="linear"), 5),
        (1,),
        kind="bound",
        discrete=5,
    ),
    Row(
        "dequantize-seen",
        lambda: _dequantize(cube(2), 3, _seen_noise(2)),
        (2,),
        kind="bound",
        discrete=3,
    ),
    Row("ordinal", _ordinal, (1, 2, 4), discrete=3),
    Row("ordinal-pixels", lambda: _ordinal(patch=1), (1, 2, 4), discrete=3),
    Row("ordinal-context", lambda: _ordinal(3), (1, 2, 4), (3,), discrete=3),
    Row("dequantize-vflow", _vflow, (1, 4, 8), kind="bound", discrete=256),
    Row("dequantize-glow", _variational, (1, 4, 8), kind="bound", discrete=256),
]
