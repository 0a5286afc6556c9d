"""Density of states estimation: how usual an example's statistics are, taken together."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Judge = Callable[[Tensor], Tensor]
"""Statistics (N, K) to anomaly scores (N,)."""


def _varied(statistics: Tensor) -> Tensor:
    """Which columns (N, K) say anything: not the ladj of a volume-preserving flow, for one."""
    spread = statistics.std(0)
    return spread > 1e-6 * statistics.abs().amax(0)


def fit_kernels(statistics: Tensor) -> Judge:
    """−Σ_k ln p̂_k(t_k), each p̂_k a kernel density estimate of a column of the statistics (N, K).

    Gaussian kernels of Silverman's width, 0.9 min(σ, IQR / 1.34) N^(−1/5). Columns that do not
    vary are left out. Source: Morningstar et al. 2021, section 3 (DoSE_KDE).

    >>> judge = fit_kernels(torch.randn(500, 2, generator=torch.Generator().manual_seed(0)))
    >>> usual, odd = judge(torch.tensor([[0.0, 0.0], [5.0, 0.0]])).tolist()
    >>> usual < odd
    True
    """
    kept = _varied(statistics)
    fitted = statistics[:, kept].double()
    quartiles = torch.quantile(fitted, torch.tensor([0.25, 0.75], dtype=fitted.dtype), dim=0)
    spread, middle = fitted.std(0), (quartiles[1] - quartiles[0]) / 1.34
    # Where half of all values are one, the spread alone has to do.
    width = 0.9 * torch.where(middle > 0, torch.minimum(spread, middle), spread)
    width = width * len(fitted) ** -0.2
    norm = width.log() + 0.5 * math.log(2 * math.pi) + math.log(len(fitted))

    def judge(asked: Tensor) -> Tensor:
        scores = []
        for rows in asked[:, kept].double().split(256):
            apart = (rows[:, None] - fitted) / width  # (n, N, K)
            scores.append((norm - torch.logsumexp(-0.5 * apart.square(), dim=1)).sum(1))
        return torch.cat(scores)

    return judge


def fit_machine(statistics: Tensor) -> Judge:
    """How far outside of a one-class SVM's region the standardised statistics (N, K) lie.

    scikit-learn's, with its radial kernel and ν = ½. NaN for statistics that are not finite.
    Source: Morningstar et al. 2021, section 3 (DoSE_SVM).
    """
    from sklearn.svm import OneClassSVM

    kept = _varied(statistics)
    fitted = statistics[:, kept].double()
    mean, spread = fitted.mean(0), fitted.std(0)
    machine = OneClassSVM().fit(((fitted - mean) / spread).numpy())

    def judge(asked: Tensor) -> Tensor:
        standard = (asked[:, kept].double() - mean) / spread
        finite = standard.isfinite().all(1)
        scores = torch.full((len(asked),), torch.nan, dtype=torch.float64)
        if finite.any():
            inside = machine.decision_function(standard[finite].numpy())
            scores[finite] = torch.from_numpy(-inside)
        return scores

    return judge
