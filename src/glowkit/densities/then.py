"""Then: a bijection followed by a density."""

from collections.abc import Sequence

from torch import Tensor

from glowkit.core import Bijection, Density, Generator, NoiseSpec, nan_where_broken
from glowkit.core.inputs import check_context, check_examples, check_noises


class Then(Density):
    """The density of x when y = bijection(x) follows another: log p(x) = log p(y) + ladj.

    The change of variables formula. The noises are those of `density`.

    Args:
        bijection: maps x to y.
        density: of y.
        shape: of one example x, where it is known: inputs are then held against it.

    Raises:
        GlowkitError: where the shape is known, for an x of another shape, dtype or device, noises
            that `encode` would not give, or a context that nothing reads.

    >>> import torch
    >>> from glowkit.bijections import ElementwiseAffine
    >>> from glowkit.densities import StandardNormal
    >>> model = Then(ElementwiseAffine((1,)), StandardNormal((1,)))
    >>> noises, log_p = model.encode(torch.ones(1, 1))
    >>> model.decode(noises)[0].item()
    1.0
    """

    def __init__(
        self, bijection: Bijection, density: Density, shape: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.bijection = bijection
        self.density = density
        self.shape = None if shape is None else tuple(shape)

    @property
    def reads_context(self) -> bool:
        return self.density.reads_context or self.bijection.reads_context

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        if self.shape is not None:
            check_examples(x, self.shape, self.anchor)
            check_context(self, context)
        y, ladj = self.bijection(x, context)
        noises, log_p = self.density.encode(y, context, generator)
        return noises, log_p + ladj

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if self.shape is not None:
            check_noises(noises, self.noise_specs(), self.anchor)
            check_context(self, context)
        y, log_p = self.density.decode(noises, context)
        x, ladj = self.bijection.inverse(y, context)
        return x, nan_where_broken(x, log_p - ladj)

    def noise_specs(self) -> list[NoiseSpec]:
        return self.density.noise_specs()
