"""The floor: the conditioners' convolutions alone, with nothing of a flow around them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.case import Case, Conditioner
from glowkit.nets import PRECISIONS

LAYOUTS = {
    "floor, channels first": torch.contiguous_format,
    "floor, channels last": torch.channels_last,
}
"""Memory layouts; the faster of the two is the floor of a case."""


class Floor:
    """The three convolutions of every conditioner, already in the precision, without ReLU or bias.

    Forward through all conditioners, then backward through all, as a flow with stored activations
    does; gradients of inputs and weights. A flow can only add to this.
    """

    def __init__(self, case: Case, layout: torch.memory_format) -> None:
        self.batch, self.layout = case.batch, layout
        self.dtype = PRECISIONS[case.precision]
        self.nets = [self._net(c, case.width) for c in case.conditioners()]

    def _net(self, c: Conditioner, width: int) -> tuple[list[Tensor], Tensor]:
        shapes = [(width, c.inputs, 3, 3), (width, width, 1, 1), (c.outputs, width, 3, 3)]
        image = (self.batch, c.inputs, c.side, c.side)
        leaves = [self._leaf(*shape) for shape in (image, *shapes)]
        gradient = self._leaf(self.batch, c.outputs, c.side, c.side).detach()
        return leaves, gradient

    def _leaf(self, *shape: int) -> Tensor:
        leaf = 0.05 * torch.randn(shape)
        return leaf.to(dtype=self.dtype, memory_format=self.layout).requires_grad_()

    def _outputs(self) -> list[Tensor]:
        return [
            F.conv2d(F.conv2d(F.conv2d(x, first, padding=1), second), last, padding=1)
            for (x, first, second, last), _ in self.nets
        ]

    def forward(self) -> None:
        """What density evaluation and sampling cannot do without."""
        with torch.no_grad():
            self._outputs()

    def forward_and_backward(self) -> None:
        """What a training step cannot do without."""
        leaves = [leaf for leaves, _ in self.nets for leaf in leaves]
        gradients = [gradient for _, gradient in self.nets]
        torch.autograd.grad(self._outputs(), leaves, gradients)
