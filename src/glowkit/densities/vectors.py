"""Vectors of numbers as context."""

from collections.abc import Sequence

import torch
from torch import Tensor

from glowkit.core import Density, Generator, GlowkitError, NoiseSpec
from glowkit.core.inputs import check_device, check_tensor
from glowkit.nets.kernel import whole


class WithVectors(Density):
    """Check context vectors (N, features), such as angles or attributes, for everything inside.

    log p(x | c) is that of the density inside. Scale each feature to be of order one: they reach
    the networks as they are.

    Raises:
        GlowkitError: when vectors are missing, of another shape, not numbers with fractions, or
            hold NaN or infinity.

    >>> from glowkit.densities import StandardNormal
    >>> WithVectors(2, StandardNormal((3,))).log_prob(torch.zeros(1, 3), torch.zeros(1, 2)).shape
    torch.Size([1])
    """

    def __init__(self, features: int, density: Density) -> None:
        super().__init__()
        self.features = features
        self.density = density

    def checked(self, vectors: Tensor | None, examples: int) -> Tensor:
        """The vectors in the model's dtype."""
        if vectors is None:
            raise GlowkitError(
                f"this model is conditional: give each image a context of {self.features} number(s)"
            )
        check_tensor(vectors, "the context")
        if tuple(vectors.shape) != (examples, self.features) or not vectors.is_floating_point():
            raise GlowkitError(
                f"the context must be {self.features} floating-point number(s) for each of"
                f" {examples} image(s), not {tuple(vectors.shape)} of {vectors.dtype}"
            )
        check_device(vectors, self.anchor)
        if not torch.isfinite(whole(vectors)).all():
            raise GlowkitError("the context holds NaN or infinity; every number must be finite")
        return vectors.to(self.anchor)

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        return self.density.encode(x, self.checked(context, len(x)), generator)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.density.decode(noises, self.checked(context, len(noises[0])))

    def noise_specs(self) -> list[NoiseSpec]:
        return self.density.noise_specs()
