"""Density: log p(x | context), and x written as standard noise."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from glowkit.core.checking import check_count, check_generator, check_model, check_temperature
from glowkit.core.finite import broken_examples, warn_of_broken
from glowkit.core.noise import Generator, NoiseSpec, draw

LogPKind = Literal["exact", "bound", "estimate"]
"""What `encode` says of log p, from the strongest to the weakest: the number itself; a lower bound
on it, E[log p̂] ≤ log p where E[p̂] = p; or an estimate of it, E[log p̂] = log p. An estimate that
holds a bound too, as of a dequantized density whose log p is estimated, estimates that bound:
E[log p̂] ≤ log p."""


def weakest(*kinds: LogPKind) -> LogPKind:
    """The kind of a sum of parts of log p, of these kinds: an estimate anywhere makes an estimate.

    >>> weakest("bound", "exact")
    'bound'
    """
    return max(kinds, key=get_args(LogPKind).index)


class Density(nn.Module, ABC):
    """A distribution that can write every x as independent standard noise, and back.

    To write one: implement `encode`, `decode` and `noise_specs`. The noises are *whitened*: under
    the density they are independent standard draws, so temperature, seeded sampling,
    interpolation and reconstruction are all `decode(f(encode(x)))`.

    A density draws randomness in `encode` only, from `generator`, and only if its log p is a bound
    or an estimate, or if it encodes discrete choices; every other is deterministic and merely hands
    the generator on.
    """

    config: Any = None
    """The settings that rebuild this density, when it was made by `glowkit.build`."""

    shape: tuple[int, ...] | None = None
    """Of one example x, where it is known."""

    levels: int | None = None
    """How many integers, from 0 on, a value of x can be; None where x is continuous."""

    classes: int = 0
    """How many class labels, from 0 on, the context can be; 0 where it is none."""

    anchor: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Follows `.to()`, so that even a density without parameters knows its dtype and device.
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    @property
    def reads_context(self) -> bool:
        """Whether log p may depend on the context; where it cannot, a context is refused."""
        return True

    @property
    def log_p_kind(self) -> LogPKind:
        """What log p is: "exact", unless a density says otherwise.

        A density made of others says the `weakest` of theirs.
        """
        return "exact"

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
        """log p(x | context) in nats, shape (N,); `log_p_kind` says whether exact."""
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
        warn_of_broken(x, broken_examples(x, log_p))
        return x
