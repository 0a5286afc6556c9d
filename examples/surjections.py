"""Two densities with a symmetry, by surjections: a checkerboard folded once, and a set of numbers.

    glowkit train points:checkerboard --model examples/surjections.py:FoldedConfig --minutes 2
    glowkit train sets.csv --model examples/surjections.py:SetConfig --minutes 2

A checkerboard turned around its first axis is the other checkerboard, so that |x₁| and x₂ fill a
rectangle evenly, and which side x₁ was on is a choice that a network tells from both. Columns of
`sets.csv` that have no order are sorted, and the flow is of the first and of the gaps to the next.
"""

from dataclasses import dataclass

import glowkit
from glowkit.bijections import Gaps, Inverse, On, Softplus, reverse
from glowkit.densities import Absolute, Sorted, Then
from glowkit.models.points import PointsConfig
from glowkit.nets import MLP


@dataclass(frozen=True)
class FoldedConfig:
    """Settings of a flow of the half plane, and of the network that tells the side."""

    steps: int = 8
    width: int = 32
    sign_width: int = 64


@glowkit.family("folded", FoldedConfig)
def build_folded(config: FoldedConfig) -> Then:
    """|x₁| and x₂ under a spline flow of positive and of any numbers; the sign given both."""
    flow = glowkit.build(PointsConfig(2, steps=config.steps, width=config.width))
    half = Then(On(1, Inverse(Softplus())), flow)
    sign = MLP(2, 1, config.sign_width, depth=2)
    return Then(glowkit.Chain([]), Absolute((2,), half, sign, folded=1), (2,))


@dataclass(frozen=True)
class SetConfig:
    """Settings of a density of rows whose columns, all alike, have no order."""

    dimensions: int = 4
    steps: int = 4
    width: int = 32


@glowkit.family("set", SetConfig)
def build_set(config: SetConfig) -> Then:
    """Sorted columns as the first of them and positive gaps, under a spline flow."""
    size = config.dimensions
    flow = glowkit.build(PointsConfig(size, steps=config.steps, width=config.width))
    gaps = glowkit.Chain([Gaps(), reverse(size), On(size - 1, Inverse(Softplus()))])
    inside = Sorted(size, Then(gaps, flow))
    return Then(glowkit.Chain([]), inside, (size,))
