"""Bits/dim of a whole split: every image once, whatever the number of ranks."""

from collections.abc import Callable

import torch
from torch import Tensor

from glowkit.core.density import Density
from glowkit.data.split import ImageSplit
from glowkit.tasks import likelihood
from glowkit.training.batches import Prepare
from glowkit.training.seeds import VALIDATION_NOISE, mixed_seed


@torch.no_grad()
def share_of_bits(
    model: Density,
    split: ImageSplit,
    prepare: Prepare,
    batch_size: int,
    device: torch.device,
    rank: int = 0,
    ranks: int = 1,
    stop: Callable[[], bool] = lambda: False,
) -> Tensor | None:
    """Sum of bits/dim and number of images over every `ranks`-th image, float64; None if stopped.

    The ranks' results add up to the whole split's, without padding or a dropped batch. The
    dequantization noise is the same at every evaluation, so that their differences are the
    model's.
    """
    total = torch.zeros(2, dtype=torch.float64)
    mine = range(rank, len(split), ranks)
    for number, start in enumerate(range(0, len(mine), batch_size)):
        if stop():
            return None
        images, context = prepare(split.__getitems__(list(mine[start : start + batch_size])))
        generator = torch.Generator(device).manual_seed(mixed_seed(VALIDATION_NOISE, number, rank))
        context = None if context is None else context.to(device)
        bits = likelihood.bits_per_dim(model, images.to(device), context, generator)
        total += torch.stack([bits.cpu().double().sum(), torch.tensor(float(len(bits)))])
    return total
