"""One unit of Flow++ and its conditioner: names in a config become objects."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from glowkit.bijections import (
    Checkerboard,
    Conv1x1,
    Coupling,
    ElementwiseNorm,
    Halves,
    LogisticMixture,
    PlainMatrix,
    Stripes,
    noisy_identity,
    swap_halves,
)
from glowkit.core import Bijection, Chain
from glowkit.nets import (
    BRANCH_DEVIATION,
    ChannelNorm,
    ConcatELU,
    ConvMaker,
    GatedAttention,
    GatedConv,
    GatedLayer,
    GatedNet,
    Positions,
    StandardizedConv2d,
    StandardizedNormedConv2d,
)

if TYPE_CHECKING:
    from glowkit.models.flowpp import FlowPPConfig

PATTERNS: dict[str, Callable[[], Bijection]] = {"stripes": Stripes, "checkerboard": Checkerboard}


def _linear(conv: ConvMaker, width: int, out_channels: int) -> nn.Module:
    return conv(width, out_channels, 3, BRANCH_DEVIATION)


def _behind_concat_elu(conv: ConvMaker, width: int, out_channels: int) -> nn.Module:
    return nn.Sequential(ConcatELU(), conv(2 * width, out_channels, 3, BRANCH_DEVIATION))


HEADS: dict[str, Callable[[ConvMaker, int, int], nn.Module]] = {
    "linear": _linear,
    "concat-elu": _behind_concat_elu,
}


def unit(
    config: "FlowPPConfig",
    shape: tuple[int, int, int],
    blocks: int,
    heads: int,
    context_features: int = 0,
) -> Chain:
    """Norm, pointwise, coupling of the second half given the first, exchange of the halves."""
    channels, half = shape[0], shape[0] // 2
    net = conditioner(config, (half, *shape[1:]), blocks, heads, context_features)
    steps: list[Bijection] = [ElementwiseNorm(shape)]
    if config.pointwise:
        mixes = (Conv1x1(PlainMatrix(half, noisy_identity)) for _ in range(2))
        steps.append(Halves(*mixes))
    steps += [Coupling(half, net, LogisticMixture(config.components)), swap_halves(channels)]
    return Chain(steps)


def conditioner(
    config: "FlowPPConfig",
    shape: tuple[int, int, int],
    blocks: int,
    heads: int,
    context_features: int = 0,
) -> GatedNet:
    """What gives the mixtures of one half of this shape, given the other."""
    conv, width = maker(config), config.width
    out_channels = shape[0] * LogisticMixture(config.components).parameters_per_channel
    layers: list[GatedLayer] = []
    for _ in range(blocks):
        layers.append(GatedConv(width, 1, config.dropout, conv, context_features))
        layers.append(ChannelNorm(width))
        if heads:
            layers += [GatedAttention(width, heads, config.dropout, conv), ChannelNorm(width)]
    entry, positions = conv(shape[0], width, 3), Positions(width, *shape[1:])
    head = HEADS[config.head](conv, width, out_channels)
    if heads:
        return GatedNet(entry, layers, head, positions, config.precision)
    entry = nn.Sequential(entry, positions)
    return GatedNet(entry, layers, head, nn.Identity(), config.precision)


def maker(config: "FlowPPConfig") -> ConvMaker:
    """How the convolutions of this config are made."""
    return StandardizedNormedConv2d if config.weight_norm else StandardizedConv2d
