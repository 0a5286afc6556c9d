"""From weights to an integral: its value, its standard error, and how good the weights are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SCRAMBLINGS = 16
"""Independent passes, whose spread is the error; a single one of even points has no honest one."""

MOST_SIZE = 0.999
"""The quantile of the weights' sizes that unweighting is asked of beside the largest."""

FEW = 100
"""Fewer points than these that carry half of an integral make its error doubtful."""


@dataclass(frozen=True)
class Estimate:
    """An estimate of an integral and its standard error.

    effective: (Σ w)² / (N Σ w²) of the weights w = f / q_ε, the effective sample size as a share.
    points: N.
    """

    value: float
    error: float
    effective: float
    points: int


@dataclass(frozen=True)
class Sizes:
    """How unequal weights are.

    effective: (Σ w)² / (N Σ w²). unweighting: mean(|w|) / w*, the share of points that accepting
    with probability |w| / w* keeps, with the 99.9 % quantile of |w| for w*; unweighting_largest:
    the same with the largest. reference: that quantile. overweight_share: of Σ |w| what lies
    beyond it. largest: the largest |w|, over their mean. half: how many points carry half of Σ |w|.
    """

    effective: float
    unweighting: float
    unweighting_largest: float
    reference: float
    overweight_share: float
    largest: float
    half: int


def of_batch(weights: Tensor) -> Estimate:
    """The estimate from independent weights (N,): mean(w) ± std(w) / √N.

    >>> found = of_batch(torch.tensor([1.0, 3.0], dtype=torch.float64))
    >>> found.value, found.error, round(found.effective, 6)
    (2.0, 1.0, 0.8)
    """
    return Estimate(*_mean_and_error(weights), effective(weights), len(weights))


def of_passes(values: Sequence[float], weights: Tensor) -> Estimate:
    """The estimate from independent passes of equally many points, whose spread is the error."""
    each = torch.tensor(values, dtype=torch.float64)
    return Estimate(*_mean_and_error(each), effective(weights), len(weights))


def _mean_and_error(values: Tensor) -> tuple[float, float]:
    """mean ± std / √N, of numbers whose squares, or whose sum, may be none.

    They are scaled by a power of two, which is exact, to a largest size of about 1.
    """
    exponent = math.frexp(values.abs().max().item())[1]
    scale = 2.0 ** min(max(exponent, -1000), 1000)
    scaled = values / scale
    error = scaled.std().item() / math.sqrt(len(values))
    return scaled.mean().item() * scale, error * scale


def effective(weights: Tensor) -> float:
    """(Σ w)² / (N Σ w²): 1 where all are equal; 0 where their sum is.

    >>> effective(torch.tensor([2.0, 0.0]))
    0.5
    """
    scaled = weights / weights.abs().max().clamp_min(torch.finfo(weights.dtype).tiny)
    squares = scaled.square().sum().item()
    return scaled.sum().item() ** 2 / (len(weights) * squares) if squares else 0.0


def sizes(weights: Tensor) -> Sizes:
    """How unequal weights (N,) are; costs a sort."""
    ordered = weights.abs().sort(descending=True).values
    mean, largest = ordered.mean().item(), ordered[0].item()
    beyond = len(ordered) - math.ceil(MOST_SIZE * len(ordered))
    reference = ordered[beyond].item() or largest
    total = ordered.cumsum(0)
    over = (total[beyond - 1] - 0.0) / total[-1] if beyond and reference < largest else 0.0
    half = int((total < total[-1] / 2).sum()) + 1
    return Sizes(
        effective(weights),
        min(1.0, mean / reference),
        mean / largest,
        reference,
        float(over),
        largest / mean,
        half,
    )


def combined(batches: Sequence[Estimate]) -> Estimate:
    """All batches of a training in one estimate, each weighted by its points and its worth.

    That worth is the effective share of the batches before it. Weights of inverse variances, or of
    a batch's own share, would favour batches that missed a peak, and so be biased low.
    """
    worth, before = [], 0.0
    for number, batch in enumerate(batches):
        worth.append(batch.points * max(before, 1e-6) if number else 0.0)
        before = batch.effective if number == 0 else 0.5 * (before + batch.effective)
    total = sum(worth)
    value = sum(w * batch.value for w, batch in zip(worth, batches, strict=True)) / total
    error = math.hypot(*(w / total * each.error for w, each in zip(worth, batches, strict=True)))
    share = sum(w * batch.effective for w, batch in zip(worth, batches, strict=True)) / total
    points = sum(batch.points for batch in batches)
    return Estimate(value, error, share, points)


def consistency(batches: Sequence[Estimate]) -> float:
    """χ² per degree of freedom of the estimates of the last half of the batches about their mean.

    Σ ((I_t − Ī) / s_t)² / (T − 1), Ī weighted by counts: about 1 where their errors are right, more
    where they are too small, as they are where peaks were missed. Source: vegas, Lepage 1978.
    """
    last = [batch for batch in batches[len(batches) // 2 :] if batch.error > 0]
    if len(last) < 2:
        return math.nan
    points = sum(batch.points for batch in last)
    mean = sum(batch.points * batch.value for batch in last) / points
    return sum(((batch.value - mean) / batch.error) ** 2 for batch in last) / (len(last) - 1)
