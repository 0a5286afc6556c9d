"""Training for a budget of processor time, so that a busy machine takes longer and gets as far."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from glowkit.training.config import ema_decay_at

LOOKS = 10
"""At the weights of one training, where they are judged."""


def descend(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[], Tensor],
    rate: Callable[[int, float], float],
    spent: Callable[[int, float], float],
    clip_norm: float,
    decay: float,
    judge: Callable[[], float] | None = None,
) -> tuple[int, float]:
    """Train until the budget is spent, and leave averaged weights; steps, and processor seconds.

    loss: of the next batch. rate: the learning rate, of the steps so far and the part spent. spent:
    that part, of the steps and seconds so far. judge: the lower, the better; asked at each tenth of
    the budget, beside the clock, with averaged weights, of which the best are left and not the
    last. A step whose gradient is not finite is left out.
    """
    parameters = list(model.parameters())
    averages = [parameter.detach().clone() for parameter in parameters]
    step, begun = 0, time.process_time()
    best, kept, looks = math.inf, model.state_dict(), 0

    def look() -> None:
        nonlocal best, kept, looks, begun
        if judge is not None:
            paused = time.process_time()
            figure = judge()
            if figure < best:
                best, kept = figure, {k: v.clone() for k, v in model.state_dict().items()}
            looks += 1
            begun += time.process_time() - paused

    while (done := spent(step, time.process_time() - begun)) < 1:
        if done * LOOKS >= looks + 1:
            _swap(parameters, averages)
            look()
            _swap(parameters, averages)
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
    _swap(parameters, averages)
    look()
    if judge is not None:
        model.load_state_dict(kept)
    return step, used


@torch.no_grad()
def _swap(some: list[nn.Parameter], others: list[Tensor]) -> None:
    for one, other in zip(some, others, strict=True):
        held = one.clone()
        one.copy_(other)
        other.copy_(held)
