"""Context seen through a network."""

from collections.abc import Sequence

from torch import Tensor, nn

from glowkit.core import Density, Generator, GlowkitError, NoiseSpec


class WithContext(Density):
    """Give everything inside net(context) as its context: p(x | net(context)).

    The network is evaluated once a call, however many couplings read its features. Shapes and cost
    are the network's and the density's.

    Raises:
        GlowkitError: without a context.
    """

    def __init__(self, net: nn.Module, density: Density) -> None:
        super().__init__()
        self.net = net
        self.density = density

    def features(self, context: Tensor | None) -> Tensor:
        """What the density inside is given for a context."""
        if context is None:
            raise GlowkitError("this density needs a context and got none")
        return self.net(context)

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        return self.density.encode(x, self.features(context), generator)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.density.decode(noises, self.features(context))

    def noise_specs(self) -> list[NoiseSpec]:
        return self.density.noise_specs()
