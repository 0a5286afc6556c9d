"""The noise that makes integers continuous: names in a config become densities."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from glowkit.bijections import Inverse, Sigmoid, Squeeze
from glowkit.core import Chain, Density
from glowkit.densities import StandardNormal, Then, Uniform, WithContext, inside
from glowkit.models.step import step
from glowkit.nets import HalfSizeNet

if TYPE_CHECKING:
    from glowkit.models.glow import GlowConfig


def variational(config: "GlowConfig") -> Density:
    """A conditional Glow of one level that draws u in the unit cube, given the image.

    eps ~ N(0, I) → squeeze → steps → unsqueeze → sigmoid → u. Every coupling sees features of the
    image, made once a call. The flow is written from noise to u, since that is the direction of
    training: its forward maps, initialisation from data included, are the ones used there.
    Source: Flow++, section 3.1. Departures: the flow is Glow's, with the couplings of the model
    around it, and u keeps the roundings from 0 and 1 that `Dequantize` needs by an affine map whose
    log-determinant counts, where a clamp would let the bound be cheated.
    """
    channels = config.image_shape[0]
    width = config.dequantization_width
    steps = [step(config, 4 * channels, width, width) for _ in range(config.dequantization_steps)]
    flow = Chain(
        [
            Squeeze(),
            Chain(steps, config.memory),
            Inverse(Squeeze()),
            Sigmoid(inside(config.pixel_levels)),
        ],
    )
    features = HalfSizeNet(channels, width, config.precision)
    return WithContext(features, Then(Inverse(flow), StandardNormal(config.image_shape)))


DEQUANTIZATIONS: dict[str, "Callable[[GlowConfig], Density]"] = {
    "uniform": lambda config: Uniform(config.image_shape),
    "variational": variational,
}
