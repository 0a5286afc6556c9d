"""Examples that are not numbers: which they are, how log p tells of them, and in what words."""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from glowkit.system.errors import GlowkitWarning

LESS_HEAT = "lower the temperature, or train the model longer"
"""What helps where samples overflow."""


def finite_examples(x: Tensor) -> Tensor:
    """Whether every value of an example is finite, (N,) bool.

    >>> finite_examples(torch.tensor([[0.0, 1.0], [torch.inf, 2.0]])).tolist()
    [True, False]
    """
    # 0 of what is finite and NaN of the rest: sums of them are several times as fast as `isfinite`.
    nothing = x.detach() * 0
    return (nothing.flatten(1).sum(1) if x.dim() > 1 else nothing) == 0


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that hold NaN or infinity.

    >>> not_finite({"weight": torch.tensor([1.0, torch.nan]), "seen": torch.tensor(True)})
    ['weight']
    """
    return [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]


def nan_where_broken(x: Tensor, log_p: Tensor) -> Tensor:
    """log p, (N,), made NaN for the examples of which any value of x, (N, ...), is not finite.

    >>> nan_where_broken(torch.tensor([[0.0], [torch.inf]]), torch.zeros(2)).tolist()
    [0.0, nan]
    """
    return torch.where(finite_examples(x), log_p, torch.nan)


def broken_examples(x: Tensor, log_p: Tensor) -> Tensor:
    """Which examples of `model.decode`, x and log p, could not be computed, (N,) bool.

    Numbers tell of it themselves; for images, which are integers, the NaN of log p does
    (see `Dequantize`).

    >>> image = torch.zeros(2, 1, 1, 1, dtype=torch.uint8)
    >>> broken_examples(image, torch.tensor([torch.nan, -torch.inf])).tolist()
    [True, False]
    """
    return ~finite_examples(x) if x.is_floating_point() else log_p.isnan()


def broken_sentence(
    broken: int, total: int, things: str = "images", remedy: str = LESS_HEAT
) -> str:
    """How many could not be computed, and what to do; empty where all could.

    >>> broken_sentence(3, 36, remedy="train longer")
    '3 of 36 images could not be computed (overflow): train longer'
    """
    if not broken:
        return ""
    return f"{broken} of {total} {things} could not be computed (overflow): {remedy}"


def warn_of_broken(x: Tensor, broken: Tensor, remedy: str = LESS_HEAT) -> None:
    """Warn, of a function under `torch.no_grad()` that returns x alone, of its broken examples."""
    things = "examples" if x.is_floating_point() else "images"
    if sentence := broken_sentence(int(broken.sum()), broken.numel(), things, remedy):
        if not x.is_floating_point():
            sentence += "; their values that are not finite are zeros"
        warnings.warn(sentence, GlowkitWarning, stacklevel=4)
