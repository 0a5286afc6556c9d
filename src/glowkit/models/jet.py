"""Jet: couplings of patches of an image, each conditioned by a vision transformer."""

from dataclasses import dataclass

from glowkit.bijections import (
    CentredAffine,
    Checkerboard,
    Coupling,
    Halves,
    Inverse,
    RowStripes,
    Scale,
    Shift,
    Squeeze,
    Stripes,
    shuffle,
    swap_halves,
)
from glowkit.core import Bijection, Chain, Density, GlowkitError
from glowkit.core.chain import MEMORY_MODES
from glowkit.densities import Dequantize, StandardNormal, Then, Uniform, WithLabels
from glowkit.models.checks import (
    check_at_least,
    check_choice,
    check_heads,
    check_patches,
    image_shape,
)
from glowkit.models.families import family
from glowkit.nets import PRECISIONS, ViT


@dataclass(frozen=True)
class JetConfig:
    """Settings of a Jet.

    Args:
        image_shape: channels, height, width; sides divisible by `patch`, into an even number of
            patches where there are spatial couplings.
        patch: side of the square patches; a patch has an even number of values.
        couplings: in all.
        channel_couplings: couplings of halves of each patch's values before each spatial coupling,
            which is one of halves of the patches.
        layers: of each conditioner.
        width: of its tokens.
        heads: of its attention; they divide `width`.
        pixel_levels: the integers 0..pixel_levels−1 that a pixel can be.
        classes: number of class labels that condition the model; 0 for none.
        dropout: the probability with which what each half of a layer adds is left out.
        memory: "store", "checkpoint" or "reversible", see `glowkit.Chain`; with dropout the last
            becomes "checkpoint".
        precision: "float32", or "bfloat16" for the conditioners alone.

    Raises:
        GlowkitError: for a setting that cannot be.
    """

    image_shape: tuple[int, int, int]
    patch: int = 4
    couplings: int = 32
    channel_couplings: int = 4
    layers: int = 2
    width: int = 512
    heads: int = 8
    pixel_levels: int = 256
    classes: int = 0
    dropout: float = 0.0
    memory: str = "store"
    precision: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", image_shape(self.image_shape))
        check_at_least(self, patch=1, couplings=1, channel_couplings=0, layers=1, width=1, heads=1)
        check_at_least(self, classes=0, dropout=0)
        check_patches(self.image_shape, self.patch)
        check_heads(self)
        check_choice("memory", self.memory, MEMORY_MODES)
        check_choice("precision", self.precision, PRECISIONS)
        if self.dropout >= 1:
            raise GlowkitError(f"dropout is {self.dropout}; it must be below 1")
        channels, rows, columns = self.grid
        if channels % 2:
            raise GlowkitError(
                f"a patch of {self.patch}x{self.patch} pixels has {channels} values, which have no"
                " halves; use an even patch, or another number of channels"
            )
        if self.couplings > self.channel_couplings and (rows % 2 or columns % 2):
            raise GlowkitError(
                f"spatial couplings pair patches, and {rows}x{columns} of them is odd; use another"
                " patch, other sides (for example with --size), or no more couplings than"
                f" channel_couplings, which is {self.channel_couplings}"
            )

    @property
    def grid(self) -> tuple[int, int, int]:
        """Values of a patch, rows and columns of patches."""
        channels, height, width = self.image_shape
        return channels * self.patch**2, height // self.patch, width // self.patch


@family("jet", JetConfig)
def build_jet(config: JetConfig) -> Dequantize:
    """Build a Jet as google-research/big_vision runs it; see `JetConfig`.

    Pixels between −1 and 1, cut into patches; then couplings: some of halves of each patch's
    values, which a fixed random permutation has shuffled, and one of halves of the patches, of a
    checkerboard, of columns or of rows, in turn and each both ways around. Every conditioner is a
    `ViT` whose last layer is zero at first, and every scale 2σ(0) = 1: a fresh model only moves and
    scales numbers. Nothing is factored out; the prior is standard normal.

    A spatial coupling hands its conditioner as many tokens as any other, each half of a kept patch,
    so that all conditioners have one shape. Departures: permutations are buffers, which no
    optimiser and no average can change, where the reference has parameters to be kept frozen; they
    are composed, where it undoes each after its coupling; v = (x + u) / pixel_levels.

    Source: Kolesnikov et al. 2024.
    """
    grid, steps = config.grid, list[Bijection]()
    for coupling in range(config.couplings):
        spatial, place = divmod(coupling, config.channel_couplings + 1)
        if place < config.channel_couplings:
            steps.append(Chain([shuffle(grid[0]), _coupling(config)]))
        else:
            there, back = _halves_of_patches(spatial, grid[0]), _halves_of_patches(spatial, grid[0])
            steps.append(Chain([there, _coupling(config), Inverse(back)]))
    flow = Chain(
        [
            Shift(-0.5),
            Scale(2.0),
            Squeeze(config.patch),
            Chain(steps, config.memory),
        ]
    )
    density: Density = Then(flow, StandardNormal(grid), config.image_shape)
    if config.classes:
        density = WithLabels(config.classes, density)
    return Dequantize(Uniform(config.image_shape), density, config.pixel_levels)


PATTERNS: tuple[type[Bijection], ...] = (Checkerboard, Stripes, RowStripes)


def _halves_of_patches(spatial: int, channels: int) -> Chain:
    """Half of the patches into the first half of the channels, the others into the second.

    Each patch is cut in two: one half stays where it was, the other takes the place of a neighbour
    that is of the other half. Shapes: (N, d, H, W) to the same. Every second one is turned around.
    """
    pattern = PATTERNS[spatial // 2 % len(PATTERNS)]
    moves: list[Bijection] = [pattern(), Halves(Inverse(pattern()), Inverse(pattern()))]
    return Chain([*moves, swap_halves(channels)] if spatial % 2 else moves)


def _coupling(config: JetConfig) -> Coupling:
    """Of the second half of the channels, given the first."""
    channels, *size = config.grid
    half, transformer = channels // 2, CentredAffine()
    net = ViT(
        half,
        half * transformer.parameters_per_channel,
        (size[0], size[1]),
        config.width,
        config.layers,
        config.heads,
        config.classes,
        config.dropout,
        config.precision,
    )
    return Coupling(half, net, transformer)
