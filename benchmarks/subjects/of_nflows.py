"""Glow in nflows: actnorm, LU-factored 1x1 convolution and affine coupling."""

from functools import partial

import torch
from nflows import flows
from nflows.distributions import StandardNormal
from nflows.transforms import (
    ActNorm,
    AffineCouplingTransform,
    CompositeTransform,
    MultiscaleCompositeTransform,
    OneByOneConvolution,
    SqueezeTransform,
)
from torch import Tensor, nn

from benchmarks.case import CHANNELS, Case
from benchmarks.subjects.flow import Flow
from benchmarks.subjects.nets import plain_net


class Subject(Flow):
    """`MultiscaleCompositeTransform` of levels; every half that leaves is flattened and joined."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        levels = MultiscaleCompositeTransform(case.levels)
        for level, channels in enumerate(case.channels()):
            steps = [part for _ in range(case.steps) for part in _step(case, channels)]
            side = case.size // 2 ** (level + 1)
            levels.add_transform(
                CompositeTransform([SqueezeTransform(), *steps]), (channels, side, side)
            )
        self.flow = flows.Flow(levels, StandardNormal([CHANNELS * case.size**2]))
        with torch.no_grad():
            self.log_prob(case.images())  # its actnorm starts from the first batch

    def log_prob(self, images: Tensor) -> Tensor:
        return self.flow.log_prob(images)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        return self.flow.sample(n)


def _step(case: Case, channels: int) -> list[nn.Module]:
    mask = [0] * (channels // 2) + [1] * (channels // 2)
    net = partial(plain_net, width=case.width, precision=case.precision)
    # The cache of the matrix and its inverse works in evaluation mode only.
    return [
        ActNorm(channels),
        OneByOneConvolution(channels, using_cache=True),
        AffineCouplingTransform(mask, net),
    ]
