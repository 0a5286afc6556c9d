"""The arithmetic limit: the convolutions' operations at the rate of a large matrix product."""

import torch

from benchmarks.case import Case
from glowkit.nets import PRECISIONS

NAME = "matrix product"

SIDE = 1536
"""Of the matrices: large enough to run at the processor's rate, small enough to be quick."""

BACKWARD = 2
"""A convolution's two gradients cost as many operations each as its forward pass."""


class Product:
    """One large matrix product in a precision; timed among the subjects, round by round."""

    def __init__(self, precision: str) -> None:
        dtype = PRECISIONS[precision]
        self.a, self.b = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
        self.out = torch.empty_like(self.a)

    def __call__(self) -> None:
        torch.matmul(self.a, self.b, out=self.out)


def products(case: Case, task: str) -> float:
    """How many such products have the operations of the case's convolutions."""
    passes = 1 + BACKWARD if task == "training" else 1
    return passes * case.forward_operations() / (2 * SIDE**3)
