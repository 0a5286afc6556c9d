"""How well a score tells examples apart, and whether a group of them is typical."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glowkit.core import GlowkitError

FOUND = 0.95  # the share of outside examples that FPR95 is about
CONFIDENCE = 0.95
_AT_ONCE = 2**21  # weights of resamples in memory

Interval = tuple[float, float]


def ranked(scores: Tensor) -> Tensor:
    """Scores (N,) float64 by which to rank: what is not finite, NaN included, comes first."""
    return torch.where(scores.isfinite(), scores.double(), torch.inf)


@dataclass(frozen=True)
class DetectionFigures:
    """How well a score tells outside examples, to be found, from inside ones.

    auroc: the probability that an outside example scores above an inside one, ties counting half.
    average_precision: the mean of the precision over recalls; by chance it is the share of outside
    examples among all. fpr95: the share of inside examples above the threshold that finds 95 % of
    the outside ones. Each with its 95 % interval.
    """

    auroc: float
    auroc_interval: Interval
    average_precision: float
    average_precision_interval: Interval
    fpr95: float
    fpr95_interval: Interval


def detection_figures(
    inside: Tensor, outside: Tensor, resamples: int = 1000, seed: int = 0
) -> DetectionFigures:
    """The figures of scores of inside examples (N,) and outside ones (M,), higher for odder ones.

    Scores that are not finite are the highest of all. The intervals are between the 2.5th and the
    97.5th percentile over bootstrap resamples of either set.

    Raises:
        GlowkitError: when either is empty.

    >>> figures = detection_figures(torch.tensor([0.0, 1.0]), torch.tensor([0.5, float("nan")]))
    >>> figures.auroc, figures.fpr95
    (0.75, 0.5)
    """
    if not len(inside) or not len(outside):
        raise GlowkitError("to tell inside from outside examples takes at least one of either")
    scores = torch.cat([ranked(inside), ranked(outside)]).numpy()
    _, place = np.unique(-scores, return_inverse=True)  # 0 is the highest
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    rng, sizes = np.random.default_rng(seed), (len(inside), len(outside))
    figures = _figures(np.ones((1, len(scores))), order, starts, sizes[0])
    rounds = max(1, _AT_ONCE // len(scores))
    again = [
        _figures(_resampled(rng, min(rounds, resamples - done), sizes), order, starts, sizes[0])
        for done in range(0, resamples, rounds)
    ]
    tails = [100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2]
    low, high = np.percentile(np.concatenate(again), tails, axis=0).tolist()
    (auroc, precision, fpr), between = figures[0].tolist(), list(zip(low, high, strict=True))
    return DetectionFigures(auroc, between[0], precision, between[1], fpr, between[2])


def _resampled(rng: np.random.Generator, count: int, sizes: tuple[int, int]) -> np.ndarray:
    """How often each example is drawn, in so many resamples: (count, N + M)."""
    parts = []
    for size in sizes:
        drawn = rng.integers(0, size, (count, size)) + size * np.arange(count)[:, None]
        parts.append(np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size))
    return np.concatenate(parts, axis=1).astype(float)


def _figures(weights: np.ndarray, order: np.ndarray, starts: np.ndarray, n: int) -> np.ndarray:
    """AUROC, average precision and FPR95 of weighted examples, of which n are inside: (B, 3).

    order: from the highest score down; starts: where in it a lower score begins.
    """
    is_inside = order < n
    weights = weights[:, order]
    false, true = (
        np.cumsum(np.add.reduceat(weights * chosen, starts, axis=1), axis=1)
        for chosen in (is_inside, ~is_inside)
    )
    precision = true / np.maximum(true + false, 1e-300)
    fpr, tpr = (
        np.concatenate([np.zeros((len(counts), 1)), counts / counts[:, -1:]], axis=1)
        for counts in (false, true)
    )
    area = (np.diff(fpr) * (tpr[:, 1:] + tpr[:, :-1]) / 2).sum(1)
    enough = (tpr >= FOUND - 1e-12).argmax(1)
    at = fpr[np.arange(len(fpr)), enough]
    return np.stack([area, (np.diff(tpr) * precision).sum(1), at], axis=1)


@dataclass(frozen=True)
class GroupTypicality:
    """Whether a group, as a whole, costs what examples of the reference do.

    distance: abs(mean of the group − mean of the reference), in their unit. threshold: what the
    distance of a group of this size from the reference stays below in 99 % of all draws.
    """

    distance: float
    threshold: float

    @property
    def typical(self) -> bool:
        return self.distance <= self.threshold


def group_typicality(
    group: Tensor, reference: Tensor, resamples: int = 1000, seed: int = 0
) -> GroupTypicality:
    """The typicality test of a group: bits/dim or nats (M,), beside those of the reference (N,).

    The threshold is the 99th percentile over bootstrap resamples. Source: Nalisnick et al. 2019,
    "Detecting out-of-distribution inputs to deep generative models using typicality", section 3.
    Departure: the reference, which is of a finite size too, is resampled as well as the group. What
    of it is not finite is left out; of the group it makes the distance so.

    Raises:
        GlowkitError: when either is empty, or nothing of the reference is finite.

    >>> draws = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    >>> group_typicality(draws[:200], draws[200:]).typical
    True
    >>> group_typicality(draws[:200] + 1, draws[200:]).typical
    False
    """
    if not len(group) or not len(reference):
        raise GlowkitError("the typicality of a group takes examples, and reference examples")
    known = reference[reference.isfinite()].double().numpy()
    if not len(known):
        raise GlowkitError(
            f"none of the {len(reference)} reference examples has a finite figure, so that nothing"
            " is known of what is typical"
        )
    rng = np.random.default_rng(seed)
    apart = [
        abs(rng.choice(known, len(group)).mean() - rng.choice(known, len(known)).mean())
        for _ in range(resamples)
    ]
    distance = abs(float(group.double().mean()) - float(known.mean()))
    return GroupTypicality(distance, float(np.quantile(apart, 0.99)))
