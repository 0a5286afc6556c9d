"""A flow on the unit cube, for integrals: spline couplings that see every pair of coordinates."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from glowkit.bijections import (
    Box,
    Coupling,
    Inverse,
    Permute,
    PiecewiseLinear,
    PiecewiseQuadratic,
    RationalQuadraticSpline,
    Transformer,
)
from glowkit.core import Bijection, Chain, Density, GlowkitError
from glowkit.core.chain import MEMORY_MODES
from glowkit.densities import Then, Uniform
from glowkit.models.checks import check_at_least, check_choice, check_no_classes, check_untouched
from glowkit.models.families import family
from glowkit.models.steps import MOST_BINS
from glowkit.nets import MLP, Constant, OneBlob

BOUND = 1.0
"""Of the couplings, which work on [-1, 1] in each dimension."""

CUBE_COUPLINGS: dict[str, Callable[[int, float], Transformer]] = {
    "spline": RationalQuadraticSpline,
    "linear": PiecewiseLinear,
    "quadratic": PiecewiseQuadratic,
}

ENCODINGS: dict[str, Callable[["CubeConfig", int, int], nn.Module]] = {
    "plain": lambda config, kept, out: MLP(kept, out, config.width, config.depth),
    "one-blob": lambda config, kept, out: OneBlob(
        MLP(kept * config.blobs, out, config.width, config.depth), config.blobs, BOUND
    ),
}


@dataclass(frozen=True)
class CubeConfig:
    """Settings of a flow on the unit cube [0, 1]^D.

    Args:
        dimensions: D, at least 1; of one dimension it is a single spline.
        rounds: how often the couplings are repeated: 2 ⌈log2 D⌉ of them a round.
        width: units of each hidden layer of the conditioners, which are MLPs.
        depth: hidden layers of the conditioners.
        coupling: "spline" (rational-quadratic), "linear" or "quadratic" (piecewise).
        bins: of each coupling.
        encoding: what conditioners see of the kept coordinates: "plain", or "one-blob" activations.
        blobs: activations a coordinate where the encoding is "one-blob".
        classes: 0; these flows have no class conditions.
        memory: "store", "checkpoint" or "reversible", see `glowkit.Chain`.

    Raises:
        GlowkitError: for a setting that cannot be.
    """

    dimensions: int = 2
    rounds: int = 1
    width: int = 64
    depth: int = 3
    coupling: str = "spline"
    bins: int = 16
    encoding: str = "plain"
    blobs: int = 32
    classes: int = 0
    memory: str = "store"

    def __post_init__(self) -> None:
        check_at_least(self, dimensions=1, rounds=1, width=1, depth=0, bins=1, blobs=1)
        check_choice("coupling", self.coupling, CUBE_COUPLINGS)
        check_choice("encoding", self.encoding, ENCODINGS)
        check_choice("memory", self.memory, MEMORY_MODES)
        check_no_classes("a flow on the cube", self.classes)
        if self.encoding != "one-blob":
            check_untouched(self, "encoding one-blob", "blobs")
        if self.bins > MOST_BINS:
            raise GlowkitError(f"bins is {self.bins}; it must be at most {MOST_BINS}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return (self.dimensions,)


@family("cube", CubeConfig)
def build_cube(config: CubeConfig) -> Density:
    """Build a flow on the cube; see `CubeConfig`. A fresh one is uniform.

    Coupling 2b keeps the coordinates whose number has bit b set and transforms the others given
    them, coupling 2b + 1 the other way: of any two coordinates each is transformed given the other
    after ⌈log2 D⌉ pairs. Source: i-flow, Gao et al. 2020, section II. Departures: the slope of a
    spline at the faces of the cube is 1, which is that of Durkan et al. 2019 at their bounds.
    """
    size = config.dimensions
    low, high = torch.full((size,), -BOUND), torch.full((size,), BOUND)
    layers: list[Bijection] = [Inverse(Box(low, high))]
    for kept in masks(size) * config.rounds:
        order = [*kept, *sorted(set(range(size)).difference(kept))]
        layers += [Permute(order), _coupling(config, len(kept)), Inverse(Permute(order))]
    layers.append(Box(low.clone(), high.clone()))
    return Then(Chain(layers, config.memory), Uniform((size,)), config.shape)


def masks(dimensions: int) -> list[list[int]]:
    """Which coordinates each coupling of a round keeps.

    >>> masks(3)
    [[1], [0, 2], [2], [0, 1]]
    """
    if dimensions == 1:
        return [[]]
    bits, numbers = range((dimensions - 1).bit_length()), range(dimensions)
    return [[i for i in numbers if i >> bit & 1 == kept] for bit in bits for kept in (1, 0)]


def _coupling(config: CubeConfig, kept: int) -> Coupling:
    transformer = CUBE_COUPLINGS[config.coupling](config.bins, BOUND)
    out = (config.dimensions - kept) * transformer.parameters_per_channel
    net = ENCODINGS[config.encoding](config, kept, out) if kept else Constant(out)
    return Coupling(kept, net, transformer)
