"""Flow++: mixture-of-logistics couplings with attention, and variational dequantization."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from glowkit.bijections import (
    Checkerboard,
    Conv1x1,
    Coupling,
    ElementwiseNorm,
    Halves,
    Inverse,
    LogisticMixture,
    Logit,
    PlainMatrix,
    Sigmoid,
    Squeeze,
    Stripes,
    block_major,
    noisy_identity,
    swap_halves,
)
from glowkit.core import Bijection, Chain, Density, GlowkitError, shown
from glowkit.core.chain import MEMORY_MODES
from glowkit.densities import Dequantize, StandardNormal, Then, Uniform, WithContext, inside
from glowkit.models.checks import (
    check_at_least,
    check_choice,
    check_heads,
    check_no_classes,
    check_sides,
    check_untouched,
    image_shape,
)
from glowkit.models.families import family
from glowkit.models.realnvp import LOGIT_ALPHA
from glowkit.nets import (
    BRANCH_DEVIATION,
    PRECISIONS,
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


@dataclass(frozen=True)
class FlowPPConfig:
    """Settings of a Flow++.

    Args:
        image_shape: channels, height, width; sides divisible by 2^(scales − 1), and an even width
            wherever columns are paired.
        couplings: for each scale, how many channel couplings, then how many couplings of paired
            columns, as in ((0, 4), (2, 3)). Between scales every 2x2 block becomes channels.
        pattern: "stripes", which pairs even and odd columns as the reference does, or
            "checkerboard", which pairs the two colours.
        pointwise: whether each half of a coupling's channels is mixed before it.
        width: channels of the conditioners' hidden layers.
        blocks: gated blocks of each conditioner.
        components: logistics in each mixture.
        heads: of the attention in each block; 0 for no attention.
        dropout: share of hidden activations dropped in training.
        weight_norm: whether the networks' weights are normalised.
        head: last layer of the conditioners: "linear", or "concat-elu" for one behind concat-ELU.
        pixel_levels: the integers 0..pixel_levels−1 that a pixel can be.
        classes: 0; Flow++ has no class conditions here.
        memory: "store", "checkpoint" or "reversible", see `glowkit.Chain`; with dropout the last
            becomes "checkpoint".
        precision: "float32", or "bfloat16" for the conditioners alone.
        dequantization: "variational", for noise that a flow draws given the image, or "uniform".
        dequantization_couplings: couplings of paired columns in a "variational" dequantization.
        dequantization_blocks: gated blocks of their conditioners.
        dequantization_heads: of the attention in those; 0 for no attention.
        context_blocks: gated blocks of the network that describes the image to them.
        context_width: its channels.
        context_heads: of the attention in its blocks; 0 for no attention.
        context_norm: whether its layers are followed by layer norm.

    Raises:
        GlowkitError: for a setting that cannot be.
    """

    image_shape: tuple[int, int, int]
    couplings: tuple[tuple[int, int], ...] = ((0, 4), (2, 3))
    pattern: str = "stripes"
    pointwise: bool = True
    width: int = 96
    blocks: int = 10
    components: int = 32
    heads: int = 4
    dropout: float = 0.2
    weight_norm: bool = False
    head: str = "linear"
    pixel_levels: int = 256
    classes: int = 0
    memory: str = "store"
    precision: str = "float32"
    dequantization: str = "variational"
    dequantization_couplings: int = 4
    dequantization_blocks: int = 2
    dequantization_heads: int = 4
    context_blocks: int = 3
    context_width: int = 32
    context_heads: int = 0
    context_norm: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", image_shape(self.image_shape))
        object.__setattr__(self, "couplings", _pairs(self.couplings))
        check_at_least(self, width=1, blocks=0, components=1, heads=0, dropout=0)
        check_at_least(self, dequantization_couplings=1, dequantization_blocks=0)
        check_at_least(self, dequantization_heads=0, context_blocks=0)
        check_at_least(self, context_width=1, context_heads=0)
        check_sides(self.image_shape, len(self.couplings) - 1)
        self._check_halves()
        check_heads(self)
        check_heads(self, "dequantization_heads")
        check_heads(self, "context_heads", "context_width")
        if self.dropout >= 1:
            raise GlowkitError(f"dropout is {self.dropout}; it must be below 1")
        check_choice("pattern", self.pattern, PATTERNS)
        check_choice("head", self.head, HEADS)
        check_choice("memory", self.memory, MEMORY_MODES)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("dequantization", self.dequantization, DEQUANTIZATIONS)
        if self.dequantization != "variational":
            names = [name for name in vars(self) if name.startswith(("dequantization_", "context"))]
            check_untouched(self, "dequantization 'variational'", *names)
        check_no_classes("Flow++", self.classes)

    def _check_halves(self) -> None:
        channels, _, width = self.image_shape
        if channels % 2 and self.couplings[0][0]:
            raise GlowkitError(
                f"channel couplings of the first scale need an even number of channels, not"
                f" {channels}; let couplings begin with 0"
            )
        for scale, (_, columns) in enumerate(self.couplings):
            if columns and width % 2 ** (scale + 1):
                raise GlowkitError(
                    f"{self.pattern} of scale {scale + 1} need a width divisible by"
                    f" {2 ** (scale + 1)}, not {width}; use another width, or no such couplings"
                )
        if self.dequantization == "variational" and width % 2:
            raise GlowkitError(
                f"variational dequantization needs an even width, not {width}; use another width,"
                " or dequantization 'uniform'"
            )


@family("flowpp", FlowPPConfig)
def build_flowpp(config: FlowPPConfig) -> Dequantize:
    """Build a Flow++ as aravindsrinivas/flowpp runs it; see `FlowPPConfig`.

    Logit with α = 0.05; at each scale couplings of halves of the channels, then of paired columns;
    blocks of 2x2 pixels become channels between scales; nothing is factored out, and the prior is
    standard normal. Each coupling is a unit: norm, pointwise, coupling, exchange of the halves.

    Departures: paired columns are gathered into channels, where the reference holds two tensors:
    the same numbers. Mixtures are evaluated and inverted in a form that is finite everywhere, in
    float32 throughout. In conditioners without attention the positions, which nothing reads in the
    reference, are added once. v = (x + u) / pixel_levels, so that the constant in bits/dim is here.
    """
    shape, steps = config.image_shape, list[Bijection]()
    for scale, (channel, column) in enumerate(config.couplings):
        if scale:
            steps += [Squeeze(), block_major(4 * shape[0])]
            shape = (4 * shape[0], shape[1] // 2, shape[2] // 2)
        steps += [unit(config, shape, config.blocks, config.heads) for _ in range(channel)]
        if column:
            paired = (2 * shape[0], shape[1], shape[2] // 2)
            steps.append(PATTERNS[config.pattern]())
            steps += [unit(config, paired, config.blocks, config.heads) for _ in range(column)]
            steps.append(Inverse(PATTERNS[config.pattern]()))
    flow = Then(Chain(steps, config.memory), StandardNormal(shape))
    noise = DEQUANTIZATIONS[config.dequantization](config)
    density = Then(Logit(LOGIT_ALPHA), flow, config.image_shape)
    return Dequantize(noise, density, config.pixel_levels)


def _pairs(couplings: object) -> tuple[tuple[int, int], ...]:
    """Couplings as nested tuples, whatever sequences a file holds."""
    try:
        pairs = tuple((channel, column) for channel, column in couplings)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        pairs = ()
    counts = [count for pair in pairs for count in pair]
    if any(type(count) is not int or count < 0 for count in counts) or sum(counts) < 1:
        raise GlowkitError(
            f"couplings is {shown(couplings)}; give two whole numbers for each scale, channel"
            " couplings and couplings of paired columns, as in ((0, 4), (2, 3))"
        )
    return pairs


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
