"""Inverse: a bijection turned around."""

from torch import Tensor

from glowkit.core import Bijection


class Inverse(Bijection):
    """The inverse of a bijection: y = f⁻¹(x), with f⁻¹'s ladj; inverse: x = f(y).

    Shapes and cost are f's, with the directions exchanged: where a density is sampled in training,
    this puts f's cheaper direction there. An f that is initialised from data sees it in `inverse`.

    >>> import torch
    >>> from glowkit.bijections import Shift
    >>> Inverse(Shift(1.0))(torch.ones(1, 1))[0].item()
    0.0
    """

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    @property
    def reads_context(self) -> bool:
        return self.bijection.reads_context

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse(x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection(y, context)
