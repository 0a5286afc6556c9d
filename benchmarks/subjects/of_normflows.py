"""Glow in normflows: its own `GlowBlock` with its own convolutional network."""

import normflows as nf
import torch
from torch import Tensor

from benchmarks.case import Case
from benchmarks.subjects.flow import Flow
from benchmarks.subjects.nets import InPrecision


class Subject(Flow):
    """`MultiscaleFlow` of `GlowBlock`s; its flows map noise to images, coarsest level first."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        bases, flows, merges = [], [], []
        for level, channels in reversed(list(enumerate(case.channels()))):
            side = case.size // 2 ** (level + 1)
            blocks = [nf.flows.GlowBlock(channels, case.width) for _ in range(case.steps)]
            for block in blocks:
                coupling = block.flows[0].flows[1]
                coupling.param_map = InPrecision(coupling.param_map, case.precision)
            flows.append([*blocks, nf.flows.Squeeze()])
            top = level == case.levels - 1
            shape = (channels if top else channels // 2, side, side)
            bases.append(nf.distributions.DiagGaussian(shape, trainable=False))
            if not top:
                merges.append(nf.flows.Merge())
        self.flow = nf.MultiscaleFlow(bases, flows, merges, class_cond=False)
        with torch.no_grad():
            self.log_prob(case.images())  # its actnorm starts from the first batch

    def log_prob(self, images: Tensor) -> Tensor:
        return self.flow.log_prob(images, None)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        return self.flow.sample(n)[0]
