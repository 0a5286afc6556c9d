"""Memory modes: how a chain keeps, or does not keep, the activations its gradient needs."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from glowkit.core.bijection import Bijection

Runner = Callable[[Iterable[Bijection], Tensor, Tensor | None], tuple[Tensor, Tensor]]


def run_stored(
    bijections: Iterable[Bijection], x: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Keep everything: the fastest step, memory proportional to depth."""
    total: Tensor | None = None
    for bijection in bijections:
        x, ladj = bijection(x, context)
        total = ladj if total is None else total + ladj
    return x, x.new_zeros(x.shape[0]) if total is None else total


def run_checkpointed(
    bijections: Iterable[Bijection], x: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Keep each bijection's input only and evaluate it again in the backward pass.

    Costs one more forward pass; memory is one tensor a bijection (openai/glow's
    `gradient_checkpointing`, on by default there).
    """
    if not torch.is_grad_enabled():
        return run_stored(bijections, x, context)
    total: Tensor | None = None
    for bijection in bijections:
        x, ladj = checkpoint(bijection, x, context, use_reentrant=False)
        total = ladj if total is None else total + ladj
    return x, x.new_zeros(x.shape[0]) if total is None else total


MEMORY_MODES: dict[str, Runner] = {"store": run_stored, "checkpoint": run_checkpointed}
