"""The optimizers a config may name."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

# foreach: one kernel for all tensors of a model, which halves the time of a step on small models.
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamax": torch.optim.Adamax,
    "adamw": torch.optim.AdamW,
}


def make_optimizer(
    name: str, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The named optimizer over these parameters."""
    return OPTIMIZERS[name](parameters, lr=learning_rate, weight_decay=weight_decay, foreach=True)
