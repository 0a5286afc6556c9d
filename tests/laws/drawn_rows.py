"""The table of densities that draw in `encode`: bounds, estimates, exact ones of choices.

A new density is one row.
"""

from typing import Any

from glowkit import bijections as b
from glowkit import densities as d
from glowkit.core import Chain, Density
from glowkit.models.glow import GlowConfig, build_glow
from glowkit.nets import MLP, lipschitz_mlp, velocity_mlp
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


def _estimated_residual(bound: float, context: int = 0) -> Density:
    block = b.Residual(lipschitz_mlp(6, 16, 1, bound, context), b.ExactLogDet())
    return d.ThenEstimated(block, d.StandardNormal((6,)), d.RussianRoulette())


def _estimated_integral() -> Density:
    flow = b.Integrate(velocity_mlp(3, 6, 1, 5), 6, b.ExactDivergence())
    return d.ThenEstimated(flow, d.StandardNormal((3,)), d.Hutchinson())


DRAWN = [
    Row("residual-0.5", lambda: _estimated_residual(0.5), (6,), kind="estimate"),
    Row("residual-0.9", lambda: _estimated_residual(0.9, 2), (6,), (2,), kind="estimate"),
    Row("residual-0.97", lambda: _estimated_residual(0.97), (6,), kind="estimate"),
    Row("integral", _estimated_integral, (3,), law=1e-6, kind="estimate"),
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
    Row("dequantize-glow", _variational, (1, 4, 8), kind="bound", discrete=256),
]
