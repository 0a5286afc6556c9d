"""The optimizers a config may name."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import nn

# One kernel for all tensors of a model, which halves the time of a step on small models; torch has
# no fused Adamax.
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamax": partial(torch.optim.Adamax, foreach=True),
    "adamw": partial(torch.optim.AdamW, fused=True),
}


def make_optimizer(
    name: str, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The named optimizer over these parameters."""
    return OPTIMIZERS[name](parameters, lr=learning_rate, weight_decay=weight_decay)
