"""RealNVP for images: checkerboard and channel couplings at several scales."""

from dataclasses import dataclass

import torch

from glowkit.bijections import (
    Coupling,
    Logit,
    MaskedBatchNorm,
    MaskedCoupling,
    Squeeze,
    TanhAffine,
    checkerboard,
    diagonals_first,
    swap_halves,
)
from glowkit.core import Bijection, Chain, Density, GlowkitError
from glowkit.core.chain import MEMORY_MODES
from glowkit.densities import Dequantize, Split, StandardNormal, Then, Uniform
from glowkit.models.checks import (
    check_at_least,
    check_choice,
    check_no_classes,
    check_sides,
    image_shape,
)
from glowkit.models.families import family
from glowkit.nets import MaskedSignPairs, ResidualNet, SignPairs

LOGIT_ALPHA = 0.05
"""How far logits keep pixels from 0 and 1 (RealNVP, section 4.1); Flow++ took it over."""


@dataclass(frozen=True)
class RealNVPConfig:
    """Settings of a RealNVP.

    Args:
        image_shape: channels, height, width; sides divisible by 2^(levels − 1), and at least two
            cells left at the last scale.
        levels: scales; between two of them the image is halved and half of it factored out.
        blocks: residual blocks of each conditioner.
        width: channels of the first scale's checkerboard conditioners. Its channel couplings have
            twice as many, and each scale doubles both.
        pixel_levels: the integers 0..pixel_levels−1 that a pixel can be.
        classes: 0; RealNVP has no class conditions here.
        memory: "store", "checkpoint" or "reversible", see `glowkit.Chain`.

    Raises:
        GlowkitError: for a setting that cannot be.
    """

    image_shape: tuple[int, int, int]
    levels: int = 2
    blocks: int = 8
    width: int = 64
    pixel_levels: int = 256
    classes: int = 0
    memory: str = "store"

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", image_shape(self.image_shape))
        check_at_least(self, levels=1, blocks=0, width=1)
        check_sides(self.image_shape, self.levels - 1)
        if self.image_shape[1] * self.image_shape[2] < 2 * 4 ** (self.levels - 1):
            raise GlowkitError(
                f"{self.levels} levels leave a single cell of {self.image_shape}, which has no"
                " checkerboard; use fewer levels"
            )
        check_choice("memory", self.memory, MEMORY_MODES)
        check_no_classes("RealNVP", self.classes)


@family("realnvp", RealNVPConfig)
def build_realnvp(config: RealNVPConfig) -> Dequantize:
    """Build a RealNVP as tensorflow/models (research/real_nvp) runs it; see `RealNVPConfig`.

    Logit with α = 0.05; at each scale three checkerboard couplings, squeeze, three channel
    couplings, ordered squeeze, and half of the channels leave; four checkerboard couplings at the
    last scale. Every coupling is followed by a batch norm of what it changed.

    Departures: the images are any integers and not 8-bit alone; running moments start at those of
    the first batch; no L2 penalty on magnitudes and gains (use `--weight-decay`).
    """
    shape = config.image_shape
    density = Then(Logit(LOGIT_ALPHA), _level(config, 0, shape), shape)
    return Dequantize(Uniform(config.image_shape), density, config.pixel_levels)


def _level(config: RealNVPConfig, level: int, shape: tuple[int, int, int]) -> Density:
    channels, height, width = shape
    hidden = config.width * 2**level
    boards = [_board(config, shape, first, hidden) for first in (1, 0, 1)]
    if level == config.levels - 1:
        last = _board(config, shape, 0, hidden)
        return Then(Chain([*boards, last], config.memory), StandardNormal(shape))
    squeezed, half = 4 * channels, 2 * channels
    steps: list[Bijection] = [*boards, Squeeze(), _halves(config, squeezed, 2 * hidden)]
    for _ in range(2):  # the second half has changed; then the first; then the second again
        steps += [swap_halves(squeezed), _halves(config, squeezed, 2 * hidden)]
    steps.append(diagonals_first(squeezed))
    rest = (half, height // 2, width // 2)
    split = Split(half, StandardNormal(rest), _level(config, level + 1, rest))
    return Then(Chain(steps, config.memory), split)


def _board(config: RealNVPConfig, shape: tuple[int, int, int], first: int, hidden: int) -> Chain:
    """Change the cells of one colour, given those of the other."""
    channels, height, width = shape
    kept = checkerboard(height, width, first)
    net = ResidualNet(MaskedSignPairs(channels, kept), 2 * channels, hidden, config.blocks)
    coupling = MaskedCoupling(kept, net, TanhAffine(gain=0))
    return Chain([coupling, MaskedBatchNorm(channels, 1 - kept)])


def _halves(config: RealNVPConfig, channels: int, hidden: int) -> Chain:
    """Change the second half of the channels, given the first."""
    half = channels // 2
    net = ResidualNet(SignPairs(half), channels, hidden, config.blocks)
    changed = (torch.arange(channels, device="cpu") >= half).view(-1, 1, 1)
    coupling = Coupling(half, net, TanhAffine(gain=1))
    return Chain([coupling, MaskedBatchNorm(channels, changed)])
