"""Couplings whose parts are cells of the image instead of channels."""

import torch
from torch import Tensor, nn

from glowkit.bijections.transformers import Transformer
from glowkit.core import Conditioned


def checkerboard(height: int, width: int, first: int) -> Tensor:
    """(H, W) of 0 and 1: (first + i + j) mod 2, so that `first` = 1 marks the top left cell.

    >>> checkerboard(2, 3, 1).tolist()
    [[1, 0, 1], [0, 1, 0]]
    """
    # On the CPU whatever the default device: models are counted on the meta device.
    i, j = torch.arange(height, device="cpu"), torch.arange(width, device="cpu")
    return (first + i[:, None] + j) % 2


class MaskedCoupling(Conditioned):
    """Keep the cells where the mask is 1 and transform the others given them.

    y = m·x + (1−m)·T(x; net(m·x)); inverse: the same with T⁻¹; ladj is the transformer's, over the
    free cells. These are gathered before they are transformed, so that any transformer serves, and
    none does its work on cells that it may not change. Shapes: (N, C, H, W). Cost: the net's.
    Source: RealNVP, section 3.4.

    Args:
        mask: (H, W), 1 for the cells that condition and stay unchanged, 0 for the others.
        net: the conditioner, called as `net(m·x, context)`; its output covers all cells, and that
            at kept cells is ignored.
        transformer: the elementwise map, such as `TanhAffine(gain=0)`.
    """

    kept: Tensor
    free: Tensor

    def __init__(self, mask: Tensor, net: nn.Module, transformer: Transformer) -> None:
        super().__init__()
        self.register_buffer("kept", mask.float().clone())
        self.register_buffer("free", (mask.flatten() == 0).nonzero()[:, 0])
        self.net = net
        self.transformer = transformer

    @property
    def reads_context(self) -> bool:
        return getattr(self.net, "reads_context", True)

    def condition(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._free(self.net(x * self.kept, context))

    def forward_given(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, ladj = self.transformer(self._free(x), h)
        return self._with_free(x, y), ladj

    def inverse_given(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        x, ladj = self.transformer.inverse(self._free(y), h)
        return self._with_free(y, x), ladj

    def _free(self, x: Tensor) -> Tensor:
        return x.flatten(2).index_select(2, self.free)

    def _with_free(self, x: Tensor, free: Tensor) -> Tensor:
        return x.flatten(2).index_copy(2, self.free, free).view(x.shape)
