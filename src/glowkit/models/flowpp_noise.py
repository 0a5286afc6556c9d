"""The noise that makes Flow++'s integers continuous: names in a config become densities."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from glowkit.bijections import Inverse, Sigmoid
from glowkit.core import Bijection, Chain, Density
from glowkit.densities import StandardNormal, Then, Uniform, WithContext, inside
from glowkit.models.flowpp_unit import PATTERNS, maker, unit
from glowkit.nets import ChannelNorm, GatedAttention, GatedConv, GatedLayer, GatedNet, Positions

if TYPE_CHECKING:
    from glowkit.models.flowpp import FlowPPConfig


class Paired(nn.Module):
    """A network on an image whose columns are paired as couplings pair them."""

    def __init__(self, pattern: Bijection, net: nn.Module) -> None:
        super().__init__()
        self.pattern = pattern
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        return self.net(self.pattern(image)[0])


def variational(config: "FlowPPConfig") -> Density:
    """A conditional flow that draws u in the unit cube, given the image.

    eps ~ N(0, I) → paired columns → units → image → sigmoid → u. Written from noise to u, since
    that is the direction of training. Every coupling sees features of the image, made once a call.
    Source: Flow++, section 3.1; aravindsrinivas/flowpp, `Dequant`. A departure: u keeps the
    roundings from 0 and 1 that `Dequantize` needs by an affine map whose log-determinant counts.
    """
    channels, height, width = config.image_shape
    shape, features = (2 * channels, height, width // 2), config.context_width
    blocks, heads = config.dequantization_blocks, config.dequantization_heads
    count = config.dequantization_couplings
    units = [unit(config, shape, blocks, heads, features) for _ in range(count)]
    flow = Chain(
        [
            PATTERNS[config.pattern](),
            Chain(units, config.memory),
            Inverse(PATTERNS[config.pattern]()),
            Sigmoid(inside(config.pixel_levels)),
        ]
    )
    context = Paired(PATTERNS[config.pattern](), _context_net(config, shape))
    return WithContext(context, Then(Inverse(flow), StandardNormal(config.image_shape)))


def _context_net(config: "FlowPPConfig", shape: tuple[int, int, int]) -> GatedNet:
    conv, width, heads = maker(config), config.context_width, config.context_heads
    layers: list[GatedLayer] = []
    for _ in range(config.context_blocks):
        block: list[GatedLayer] = [GatedConv(width, 3, config.dropout, conv)]
        if heads:
            block.append(GatedAttention(width, heads, config.dropout, conv))
        for layer in block:
            layers += [layer, ChannelNorm(width)] if config.context_norm else [layer]
    positions = Positions(width, *shape[1:]) if heads else nn.Identity()
    entry = conv(shape[0], width, 3)
    return GatedNet(entry, layers, nn.Identity(), positions, config.precision)


DEQUANTIZATIONS: dict[str, "Callable[[FlowPPConfig], Density]"] = {
    "uniform": lambda config: Uniform(config.image_shape),
    "variational": variational,
}
