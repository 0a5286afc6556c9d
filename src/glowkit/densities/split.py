"""Split: factor half of the channels out, early."""

from collections.abc import Sequence

import torch
from torch import Tensor

from glowkit.core import Density, Generator, NoiseSpec


class Split(Density):
    """Keep the first channels, and give the others to a prior that sees the kept ones.

    log p(x) = log prior(x₂ | x₁) + log deeper(x₁). The dropped half's noise leaves first. Shapes:
    (N, C, ...) with the last `prior` channels dropped. Source: RealNVP, section 3.6; Glow's learned
    conditional prior, openai/glow `split2d`.

    Args:
        kept: how many channels go on.
        prior: density of the dropped channels, conditioned on the kept ones.
        deeper: density of the kept channels, which gets the outer context.
    """

    def __init__(self, kept: int, prior: Density, deeper: Density) -> None:
        super().__init__()
        self.kept = kept
        self.prior = prior
        self.deeper = deeper

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        x1, x2 = x[:, : self.kept], x[:, self.kept :]
        early, log_p2 = self.prior.encode(x2, x1, generator)
        late, log_p1 = self.deeper.encode(x1, context, generator)
        return early + late, log_p1 + log_p2

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        early = len(self.prior.noise_specs())
        x1, log_p1 = self.deeper.decode(noises[early:], context)
        x2, log_p2 = self.prior.decode(noises[:early], x1)
        return torch.cat([x1, x2], dim=1), log_p1 + log_p2

    def noise_specs(self) -> list[NoiseSpec]:
        return self.prior.noise_specs() + self.deeper.noise_specs()
