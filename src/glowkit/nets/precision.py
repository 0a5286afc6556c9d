"""Conditioners in low precision inside a float32 flow."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

PRECISIONS: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""What a config can ask for, by name; "float32" stands for the parameters' own dtype."""


def computing_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Run a network's convolutions and matrix products in `dtype`; float32 changes nothing.

    Parameters stay as they are. Only conditioners run in low precision, and they hand their output
    back in the flow's dtype: the flow's own arithmetic, every `exp` and every log-det, stays in
    float32 or wider. Pays where the processor multiplies bfloat16 natively.
    """
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype)


class PrecisionNet(nn.Module):
    """A network that computes in `dtype`, whatever the dtype of its parameters.

    Args:
        precision: one of `PRECISIONS`.
    """

    dtype: torch.dtype

    def __init__(self, precision: str) -> None:
        super().__init__()
        self.dtype = PRECISIONS[precision]


def set_precision(model: nn.Module, precision: str) -> int:
    """Let all conditioners of a model compute in a precision; says how many there are.

    >>> from glowkit.nets import GlowNet
    >>> set_precision(GlowNet(2, 4, width=8), "bfloat16")
    1
    """
    nets = [module for module in model.modules() if isinstance(module, PrecisionNet)]
    for net in nets:
        net.dtype = PRECISIONS[precision]
    return len(nets)
