"""What every subject can do."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.case import Case


class Flow(nn.Module, ABC):
    """A Glow of some library."""

    @abstractmethod
    def log_prob(self, images: Tensor) -> Tensor:
        """log p of noisy images in [0, 1), (N,) nats up to a constant."""

    def rest(self) -> None:
        """From now on the model is only evaluated and sampled."""
        self.eval()

    @abstractmethod
    def sample(self, n: int) -> Tensor:
        """n images, without gradients."""


Builder = Callable[[Case], Flow]
"""Builds a subject."""


class Compiled(Flow):
    """A flow whose density and sampling are under torch.compile."""

    def __init__(self, builder: Builder, case: Case) -> None:
        super().__init__()
        self.flow = builder(case)
        self.log_prob_of = torch.compile(self.flow.log_prob)
        self.sample_of = torch.compile(self.flow.sample)

    def log_prob(self, images: Tensor) -> Tensor:
        return self.log_prob_of(images)

    def sample(self, n: int) -> Tensor:
        return self.sample_of(n)
