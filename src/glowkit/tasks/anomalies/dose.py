"""Density of states estimation: how usual an example's statistics are, taken together."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from glowkit.core import GlowkitError

Judge = Callable[[Tensor], Tensor]
"""Statistics (N, K) to anomaly scores (N,)."""


def _whitened(statistics: Tensor) -> tuple[Tensor, Judge]:
    """The statistics (N, K) rotated to their principal axes, with variance 1, and how others are.

    Columns that do not vary say nothing, such as the ladj of a volume-preserving flow, and go; so
    do axes along which the others, one being a sum of the rest, do not. Raises GlowkitError where
    nothing varies.
    """
    kept = statistics.std(0) > _ROUNDING * statistics.abs().amax(0)
    if not kept.any():
        raise GlowkitError(
            "the statistics of all reference examples are the same, and density of states cannot be"
            " fitted to them: give examples that differ, or leave out dose and dose-svm"
        )
    mean, spread = statistics[:, kept].mean(0), statistics[:, kept].std(0)
    standard = (statistics[:, kept] - mean) / spread
    _, lengths, axes = torch.linalg.svd(standard, full_matrices=False)
    long = lengths > _SHORT * lengths.amax()
    turned = axes[long].T / lengths[long] * math.sqrt(len(statistics) - 1)

    def whiten(asked: Tensor) -> Tensor:
        return ((asked.double()[:, kept] - mean) / spread) @ turned

    return whiten(statistics), whiten


# A model computes in float32: what varies less than this says how it rounds.
_ROUNDING, _SHORT = 1e-5, 1e-3


def fit_kernels(statistics: Tensor) -> Judge:
    """-Σ_k ln p̂_k(t_k) of whitened statistics t, each p̂_k a kernel density estimate of one.

    Gaussian kernels of Silverman's width, 0.9 min(σ, IQR / 1.34) N^(-1/5). Shapes: statistics
    (N, K). Source: Morningstar et al. 2021, section 3 (DoSE_KDE). Departure: statistics are
    whitened first, for a product of densities of each alone takes no notice of what they do
    together, and norms, ladj and log p depend on each other closely.

    >>> judge = fit_kernels(torch.randn(500, 2, generator=torch.Generator().manual_seed(0)))
    >>> usual, odd = judge(torch.tensor([[0.0, 0.0], [5.0, 0.0]])).tolist()
    >>> usual < odd
    True
    """
    fitted, whiten = _whitened(statistics.double())
    quartiles = torch.quantile(fitted, torch.tensor([0.25, 0.75], dtype=fitted.dtype), dim=0)
    spread, middle = fitted.std(0), (quartiles[1] - quartiles[0]) / 1.34
    # Where half of all values are one, the spread alone has to do.
    width = 0.9 * torch.where(middle > _ROUNDING, torch.minimum(spread, middle), spread)
    width = width * len(fitted) ** -0.2
    norm = width.log() + 0.5 * math.log(2 * math.pi) + math.log(len(fitted))

    def judge(asked: Tensor) -> Tensor:
        scores = []
        for rows in whiten(asked).split(256):
            apart = (rows[:, None] - fitted) / width  # (n, N, K)
            scores.append((norm - torch.logsumexp(-0.5 * apart.square(), dim=1)).sum(1))
        return torch.cat(scores)

    return judge


def fit_machine(statistics: Tensor) -> Judge:
    """How far outside of a one-class SVM's region the whitened statistics (N, K) lie.

    scikit-learn's, with its radial kernel and ν = ½. NaN for statistics that are not finite.
    Source: Morningstar et al. 2021, section 3 (DoSE_SVM).
    """
    from sklearn.svm import OneClassSVM

    fitted, whiten = _whitened(statistics.double())
    machine = OneClassSVM().fit(fitted.numpy())

    def judge(asked: Tensor) -> Tensor:
        white = whiten(asked)
        finite = white.isfinite().all(1)
        scores = torch.full((len(asked),), torch.nan, dtype=torch.float64)
        if finite.any():
            scores[finite] = torch.from_numpy(-machine.decision_function(white[finite].numpy()))
        return scores

    return judge
