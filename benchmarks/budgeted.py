"""Training for a budget of processor time, so that a busy machine takes longer and gets as far."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from glowkit.training.config import ema_decay_at


def descend(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[], Tensor],
    rate: Callable[[int, float], float],
    spent: Callable[[int, float], float],
    clip_norm: float,
    decay: float,
) -> tuple[int, float]:
    """Train until the budget is spent, and leave averaged weights; steps, and processor seconds.

    loss: of the next batch. rate: the learning rate, of the steps so far and the part spent. spent:
    that part, of the steps and seconds so far. A step whose gradient is not finite is left out.
    """
    parameters = list(model.parameters())
    averages = [parameter.detach().clone() for parameter in parameters]
    step, begun = 0, time.process_time()
    while (done := spent(step, time.process_time() - begun)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate(step, done)
        optimizer.zero_grad()
        loss().backward()
        if nn.utils.clip_grad_norm_(parameters, clip_norm).isfinite():
            optimizer.step()
        with torch.no_grad():
            for average, parameter in zip(averages, parameters, strict=True):
                average.lerp_(parameter, 1 - ema_decay_at(step + 1, decay))
        step += 1
    used = time.process_time() - begun
    with torch.no_grad():
        for average, parameter in zip(averages, parameters, strict=True):
            parameter.copy_(average)
    return step, used
