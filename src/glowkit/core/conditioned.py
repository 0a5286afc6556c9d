"""Conditioned: a bijection that is told what to do by what it leaves unchanged."""

from abc import abstractmethod

from torch import Tensor

from glowkit.core.bijection import Bijection


class Conditioned(Bijection):
    """y = T(x; h) where h = condition(x) reads only what T does not change: condition(y) = h too.

    forward: T(x; condition(x)); inverse: T⁻¹(y; condition(y)); ladj is T's. One evaluation of the
    costly part, `condition`, serves both directions at once, which `Chain` uses where it rebuilds
    x and differentiates there. To write one: implement the three methods below.
    """

    @abstractmethod
    def condition(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The parameters h of the map at x; the same at y."""

    @abstractmethod
    def forward_given(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Map x to y given h. Returns y and ladj, (N,), nats."""

    @abstractmethod
    def inverse_given(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Map y to x given h. Returns x and the inverse map's ladj, (N,), nats."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward_given(x, self.condition(x, context))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.inverse_given(y, self.condition(y, context))
