"""NICE: additive couplings of a flat image, then one diagonal scaling."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from glowkit.bijections import (
    Additive,
    Coupling,
    ElementwiseScale,
    Reshape,
    even_first,
    reverse,
)
from glowkit.core import Bijection, Chain, Density, GlowkitError
from glowkit.core.chain import MEMORY_MODES
from glowkit.densities import Dequantize, StandardLogistic, StandardNormal, Then, Uniform
from glowkit.models.checks import check_at_least, check_choice, check_no_classes, image_shape
from glowkit.models.families import family
from glowkit.nets import MLP

PRIORS: dict[str, Callable[[tuple[int, ...]], Density]] = {
    "logistic": StandardLogistic,
    "normal": StandardNormal,
}


@dataclass(frozen=True)
class NICEConfig:
    """Settings of a NICE.

    Args:
        image_shape: channels, height, width; any with at least two numbers an image.
        couplings: how many; 4 on MNIST, 8 on CIFAR-10. Fewer than 2 leave a half unchanged.
        width: units of each hidden layer of the conditioners.
        depth: hidden layers of the conditioners.
        prior: "logistic" or "normal"; the reference's CIFAR-10 script has the normal.
        pixel_levels: the integers 0..pixel_levels−1 that a pixel can be.
        classes: 0; NICE has no class conditions here.
        memory: "store", "checkpoint" or "reversible", see `glowkit.Chain`.

    Raises:
        GlowkitError: for a setting that cannot be.
    """

    image_shape: tuple[int, int, int]
    couplings: int = 4
    width: int = 1000
    depth: int = 5
    prior: str = "logistic"
    pixel_levels: int = 256
    classes: int = 0
    memory: str = "store"

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", image_shape(self.image_shape))
        shape = self.image_shape
        if math.prod(shape) < 2:
            raise GlowkitError(f"image_shape is {shape}; give at least two numbers in all")
        check_at_least(self, couplings=2, width=1, depth=1)
        check_choice("prior", self.prior, PRIORS)
        check_choice("memory", self.memory, MEMORY_MODES)
        check_no_classes("NICE", self.classes)


@family("nice", NICEConfig)
def build_nice(config: NICEConfig) -> Dequantize:
    """Build a NICE as laurent-dinh/nice runs it on MNIST; see `NICEConfig`.

    v = (x + u) / pixel_levels is flattened and its even indices put first; each coupling adds
    m(first half) to the rest, and the vector is reversed after each; exp(d) scales each dimension.

    Departures: hidden layers start as torch's linear layers do and the last one at zero, so that a
    fresh flow is the identity (the reference draws all weights from U(±0.01)); d starts where the
    first batch has variance 1 (the reference: 0); no ZCA or other whitening
    of colour images. bits/dim counts ln pixel_levels, the paper's nats do not.
    """
    size = math.prod(config.image_shape)
    kept = size // 2
    steps: list[Bijection] = [Reshape(config.image_shape, (size,)), even_first(size)]
    for _ in range(config.couplings):
        net = MLP(kept, size - kept, config.width, config.depth)
        steps += [Coupling(kept, net, Additive()), reverse(size)]
    steps.append(ElementwiseScale((size,)))
    prior = PRIORS[config.prior]((size,))
    density = Then(Chain(steps, config.memory), prior, config.image_shape)
    return Dequantize(Uniform(config.image_shape), density, config.pixel_levels)
