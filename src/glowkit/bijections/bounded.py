"""RealNVP's affine map as the paper orders it, with a learned bound and offset."""

import torch
from torch import Tensor, nn

from glowkit.bijections.transformers import Transformer
from glowkit.core import sum_per_example


class BoundedAffine(Transformer):
    """y = x · exp(s) + t with s = a · tanh(r) + c; inverse x = (y − t) · exp(−s); ladj = Σ s.

    h holds t and r interleaved; a and c are one learned number each, for all elements: s stays
    between c − |a| and c + |a|. Source: RealNVP, section 3.2, with s as tatsy's
    normalizing-flows-pytorch has it, where a and c start near 0; here a starts at 1 and c at 0, so
    that a zero-initialised conditioner learns its scale from the first step on.

    >>> y, ladj = BoundedAffine()(torch.tensor([[2.0]]), torch.tensor([[1.0, 0.0]]))
    >>> y.item(), ladj.item()
    (3.0, 0.0)
    """

    parameters_per_channel = 2

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.unpack(x, h)
        log_scale = self.gain * torch.tanh(raw) + self.offset
        return x * log_scale.exp() + shift, sum_per_example(log_scale)

    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.unpack(y, h)
        log_scale = self.gain * torch.tanh(raw) + self.offset
        return (y - shift) * (-log_scale).exp(), -sum_per_example(log_scale)
