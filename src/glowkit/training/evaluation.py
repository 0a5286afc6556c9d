"""The figure of a whole split: every example once, whatever the number of ranks."""

from collections.abc import Callable

import torch
from torch import Tensor

from glowkit.core.density import Density
from glowkit.training.batches import Preparation, Split
from glowkit.training.seeds import VALIDATION_NOISE, mixed_seed
from glowkit.training.subject import subject_of


@torch.no_grad()
def share_of_figures(
    model: Density,
    split: Split,
    prepare: Preparation,
    batch_size: int,
    device: torch.device,
    rank: int = 0,
    ranks: int = 1,
    stop: Callable[[], bool] = lambda: False,
) -> Tensor | None:
    """Sum of the figure and number of examples of every `ranks`-th batch, float64; None if stopped.

    The ranks' results add up to the whole split's, without padding or a dropped batch. The
    dequantization noise is the same at every evaluation and for any number of ranks, so that their
    differences are the model's.
    """
    figure_of_each = subject_of(model.config).each
    total = torch.zeros(2, dtype=torch.float64)
    batches = -(-len(split) // batch_size)
    for number in range(rank, batches, ranks):
        if stop():
            return None
        rows = range(len(split))[number * batch_size : (number + 1) * batch_size]
        x, context = prepare(split.__getitems__(list(rows)))
        generator = torch.Generator(device).manual_seed(mixed_seed(VALIDATION_NOISE, number, 0))
        context = None if context is None else context.to(device)
        each = figure_of_each(model, x.to(device), context, generator)
        total += torch.stack([each.cpu().double().sum(), torch.tensor(float(len(each)))])
    return total
