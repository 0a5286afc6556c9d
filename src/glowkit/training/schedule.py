"""The learning rate and the averaging of weights, as functions of how far training is."""

import math

LONGEST_WARMUP = 0.1  # of the budget


def learning_rate_factor(step: int, progress: float, warmup_steps: int) -> float:
    """Linear warm-up by steps, times a cosine that reaches zero when the budget is used up.

    step: steps taken so far; progress: the part of the budget used, in [0, 1]. Warm-up ends after
    a tenth of the budget at the latest, or a short run would be all warm-up.

    >>> [round(learning_rate_factor(step, step / 4, 2), 3) for step in range(5)]
    [0.5, 0.854, 0.5, 0.146, 0.0]
    """
    by_steps = (step + 1) / warmup_steps if warmup_steps else 1.0
    warmup = min(1.0, max(by_steps, progress / LONGEST_WARMUP))
    return warmup * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def ema_decay_at(updates: int, decay: float) -> float:
    """The decay of the next update of averaged weights, after `updates` of them.

    Grows from 0.1, so that a short run is not an average with its random start.

    >>> ema_decay_at(0, 0.999), ema_decay_at(10**6, 0.999)
    (0.1, 0.999)
    """
    return min(decay, (1 + updates) / (10 + updates))
