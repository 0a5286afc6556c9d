"""Density: log p(x | context), together with x written as standard noise."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from glowkit.core.finite import warn_of_broken
from glowkit.core.inputs import check_count, check_generator, check_model, check_temperature
from glowkit.core.noise import Generator, NoiseSpec, draw


class Density(nn.Module, ABC):
    """A distribution that can write every x as independent standard noise, and back.

    To write one: implement `encode`, `decode` and `noise_specs`. The noises are *whitened*: under
    the density they are independent standard draws, so temperature, seeded sampling,
    interpolation and reconstruction are all `decode(f(encode(x)))`.

    `generator` says where randomness comes from. Only dequantization draws any; every other
    density is deterministic and merely hands the generator on.
    """

    config: Any = None
    """The settings that rebuild this density, when it was made by `glowkit.build`."""

    anchor: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Follows `.to()`, so that even a density without parameters knows its dtype and device.
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    @property
    def reads_context(self) -> bool:
        """Whether log p may depend on the context; where it cannot, a context is refused."""
        return True

    @abstractmethod
    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        """Write x as noise. Returns the noises in the order they leave, and log p(x), (N,) nats."""

    @abstractmethod
    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Turn noises back into x. Returns x and log p(x), (N,) nats, not finite where x is not."""

    @abstractmethod
    def noise_specs(self) -> list[NoiseSpec]:
        """Shape and distribution of each noise, in the order `encode` returns them."""

    def log_prob(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> Tensor:
        """log p(x | context) in nats, shape (N,). A lower bound where x is dequantized."""
        return self.encode(x, context, generator)[1]

    def forward(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> Tensor:
        """`log_prob`: what a wrapper calls, `DistributedDataParallel` and the like."""
        return self.log_prob(x, context, generator)

    def draw_noises(
        self, n: int, temperature: float | Tensor = 1.0, generator: Generator = None
    ) -> list[Tensor]:
        """Draw the noises of n examples; `temperature` is a number or a tensor of n numbers."""
        n = check_count(n, "the number of samples")
        check_model(self.anchor)
        check_temperature(temperature, n)
        check_generator(generator)
        return [draw(spec, n, self.anchor, temperature, generator) for spec in self.noise_specs()]

    @torch.no_grad()
    def sample(
        self,
        n: int,
        temperature: float | Tensor = 1.0,
        context: Tensor | None = None,
        generator: Generator = None,
    ) -> Tensor:
        """Draw n examples. Costs one inverse pass of the flow.

        Warns (GlowkitWarning) of examples that could not be computed, which hold NaN or infinity,
        or zeros in images; `decode` tells which they are.
        """
        x, log_p = self.decode(self.draw_noises(n, temperature, generator), context)
        warn_of_broken(x, log_p)
        return x
