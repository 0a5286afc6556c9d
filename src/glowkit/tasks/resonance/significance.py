"""What a score is worth: significance improvement, and the excess of a bump hunt."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.core.checking import check_tensor

Window = tuple[float, float]
"""Where the signal may be: m₁ < m < m₂."""

LEAST_BACKGROUND = 25
"""Events of background behind a figure: with fewer, its relative error is above 20 %."""

EFFICIENCIES = (0.1, 0.01, 0.001)
"""Of the background beside the window: what the cuts of a bump hunt keep."""


@dataclass(frozen=True)
class SignificanceImprovement:
    """How a cut on a score changes S/√B: SIC = ε_S / √ε_B, from the loosest cut to the tightest.

    signal_efficiency ε_S, background_efficiency ε_B and sic: (K,), of the cuts that keep at least
    `LEAST_BACKGROUND` events of background. max_sic: the highest, where ε_S is best_efficiency;
    standard_error: of that figure, from the binomial errors of its ε_S and ε_B alone.
    auc: the area under the curve of ε_S against ε_B, for comparison; it is ruled by loose cuts.
    """

    signal_efficiency: Tensor
    background_efficiency: Tensor
    sic: Tensor
    max_sic: float
    best_efficiency: float
    standard_error: float
    auc: float


def significance_improvement(
    scores: Tensor, truth: Tensor, least: int = LEAST_BACKGROUND
) -> SignificanceImprovement:
    """The significance improvement of cuts on a score, where it is known which events are signal.

    Higher scores are more like signal; −∞ is an event that no cut keeps. Events of equal scores are
    kept or lost together. The maximum is over all cuts, which makes it a little too high.

    Shapes: scores (N,), truth (N,) bool. Cost: a sort. Source: Gallicchio et al. 2011 (SIC).

    Raises:
        GlowkitError: for scores that are NaN, other shapes, or fewer than `least` events of
            background, or no signal.

    >>> scores = torch.arange(200.0)
    >>> curve = significance_improvement(scores, scores >= 100)
    >>> round(curve.max_sic, 6), curve.auc  # all of the signal, and the least of 25 events in 100
    (2.0, 1.0)
    """
    check_tensor(scores, "scores")
    check_tensor(truth, "the truth")
    if scores.dim() != 1 or truth.shape != scores.shape or truth.dtype != torch.bool:
        raise GlowkitError(
            f"scores are (N,) and the truth (N,) of bool, not {tuple(scores.shape)} and"
            f" {tuple(truth.shape)} of {truth.dtype}"
        )
    if scores.isnan().any():
        raise GlowkitError(
            f"{int(scores.isnan().sum())} of {len(scores)} scores are NaN, so that no cut can be"
            " made on them; look for the events they are of"
        )
    signal, background = int(truth.sum()), int((~truth).sum())
    if signal < 1 or background < least:
        raise GlowkitError(
            f"significance improvement needs signal and at least {least} events of background, and"
            f" there are {signal} and {background}"
        )
    ordered, order = scores.sort(descending=True)
    kept = truth[order].double()
    last = torch.ones(len(ordered), dtype=torch.bool)
    last[:-1] = ordered[:-1] != ordered[1:]  # within a tie there is no cut
    true = torch.cat([torch.zeros(1, dtype=torch.float64), kept.cumsum(0)[last] / signal])
    false = torch.cat(
        [torch.zeros(1, dtype=torch.float64), (1 - kept).cumsum(0)[last] / background]
    )
    auc = torch.trapezoid(true, false).item()
    enough = (false * background).round() >= least
    if ordered[-1] == -torch.inf:  # which no cut keeps
        enough[-1] = False
    if not enough.any():
        raise GlowkitError(
            f"no cut keeps {least} events of background: too few have a finite score"
        )
    true, false = true[enough].flip(0), false[enough].flip(0)
    sic = true / false.sqrt()
    best = int(sic.argmax())
    highest, e_s, e_b = sic[best].item(), true[best].item(), false[best].item()
    relative = (1 - e_s) / max(e_s * signal, 1) + (1 - e_b) / (4 * e_b * background)
    return SignificanceImprovement(
        true, false, sic, highest, e_s, highest * math.sqrt(relative), auc
    )


@dataclass(frozen=True)
class Excess:
    """Events in the window after a cut, against a smooth background fitted on both sides of it.

    efficiency: of background, that the cut was to keep; threshold: the score it was made at.
    observed n; expected b and its uncertainty, from the fit; significance Z (negative where events
    are missing) and p_value, local and one-sided; NaN where too few events are left to fit.
    fit_p_value: how well the fit describes the side bands; near 0 it does not.
    edges, counts and fit: the histogram of m after the cut, and what the fit expects in each bin.
    """

    efficiency: float
    threshold: float
    observed: int
    expected: float
    uncertainty: float
    significance: float
    fit_p_value: float
    edges: Tensor
    counts: Tensor
    fit: Tensor

    @property
    def histogram(self) -> tuple[Tensor, Tensor, Tensor]:
        """Edges, counts and fit."""
        return self.edges, self.counts, self.fit

    @property
    def p_value(self) -> float:
        """½ erfc(Z / √2)."""
        return p_value(self.significance)


def p_value(significance: float) -> float:
    """The one-sided p-value of Z deviations, ½ erfc(Z / √2).

    >>> round(p_value(3.0), 5)
    0.00135
    """
    return 0.5 * math.erfc(significance / math.sqrt(2))


def deviations(p: float) -> float:
    """Z of a one-sided p-value; the inverse of `p_value`.

    >>> round(deviations(0.00135), 3)
    3.0
    """
    return -torch.special.ndtri(torch.tensor(p, dtype=torch.float64)).item()


def global_p_value(local: Sequence[float]) -> float:
    """The p-value of the smallest of several: 1 − (1 − p)^n, the look-elsewhere effect (Šidák).

    Exact where they are independent, and too large, which is safe, where they rise together. NaN
    are places where nothing could be said, and do not count.

    >>> round(global_p_value([0.01, 0.5, float("nan")]), 4)
    0.0199
    """
    known = [p for p in local if not math.isnan(p)]
    if not known:
        return math.nan
    lowest = min(known)
    return -math.expm1(len(known) * math.log1p(-lowest)) if lowest < 1 else 1.0


def significance_of(observed: int, expected: float, uncertainty: float) -> float:
    """Z of n events where b ± σ are expected, signed; σ 0 is a background that is known.

    With α = σ²/b and k = b²/σ², as if k events were counted in a region 1/α times as large:
    Z² = 2 [n ln((1 + 1/α) n/(n + k)) + k ln((1 + α) k/(n + k))], the profile likelihood ratio,
    which without σ is 2 [n ln(n/b) − n + b]. Source: Li and Ma 1983, equation 17; Cowan et al.
    2011.

    >>> round(significance_of(120, 100.0, 0.0), 3), round(significance_of(120, 100.0, 10.0), 3)
    (1.938, 1.349)
    """
    n, b, variance = observed, expected, uncertainty**2
    if variance == 0:
        half = (n * math.log(n / b) if n else 0.0) - n + b
    else:
        k, alpha = b * b / variance, variance / b
        half = k * math.log((1 + alpha) * k / (n + k))
        half += n * math.log((1 + 1 / alpha) * n / (n + k)) if n else 0.0
    return math.copysign(math.sqrt(max(0.0, 2 * half)), n - b)


BINS = 40  # of the whole range, about
DEGREE = 3  # of ln rate; see `smooth_background`
LEAST_FITTED, LEAST_BINS = 20, 2 * (DEGREE + 1)
"""Events in the side bands, and bins that hold any: fewer do not decide a curve of this degree."""

_TURNS = 100


def bump_hunt(
    m: Tensor, kept: Tensor, window: Window, efficiency: float, threshold: float
) -> Excess:
    """The excess in the window among the events that a cut kept, (N,) bool, of all events m, (N,).

    The histogram's bins divide each side band evenly, so that none crosses the window's ends.
    """
    low, high = float(m.min()), float(m.max())
    width = (high - low) / BINS
    parts = [(low, window[0]), window, (window[1], high)]
    sides = [np.linspace(a, b, 1 + max(1, round((b - a) / width))) for a, b in parts]
    edges = np.unique(np.concatenate(sides))
    counts = np.histogram(m[kept].numpy(), edges)[0]
    middle = (edges[1:] + edges[:-1]) / 2
    inside = (middle > window[0]) & (middle < window[1])
    observed = int(counts[inside].sum())
    rates, variance, fit_p = smooth_background(edges, counts, inside)
    expected, uncertainty = float(rates[inside].sum()), math.sqrt(variance)
    z = significance_of(observed, expected, uncertainty) if expected > 0 else math.nan
    return Excess(
        efficiency,
        threshold,
        observed,
        expected,
        uncertainty,
        z,
        fit_p,
        torch.from_numpy(edges),
        torch.from_numpy(counts),
        torch.from_numpy(rates),
    )


def smooth_background(
    edges: np.ndarray, counts: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Expected counts of all bins by a fit of those outside the window, and how sure it is.

    The rate is exp of a polynomial in m of degree `DEGREE`, fitted by maximum likelihood to Poisson
    counts, which is convex. The usual a (1 − m)^b m^c is a curve of the same kind (ln rate is
    linear in three functions) for a mass that an energy of collisions bounds; ours needs none, and
    holds exponentials, which fall likewise, exactly. Returns the counts (K,), the variance of their
    sum inside the window, from the Fisher information, and the p-value of the fit's deviance
    outside as χ²; NaN where too little is outside to fit.
    """
    nothing = np.full(len(counts), np.nan)
    if counts[~inside].sum() < LEAST_FITTED or (counts[~inside] > 0).sum() < LEAST_BINS:
        return nothing, math.nan, math.nan
    middle, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    t = (2 * middle - edges[0] - edges[-1]) / (edges[-1] - edges[0])
    basis = np.polynomial.legendre.legvander(t, DEGREE)
    size = widths / widths.mean()  # an offset, so that bins of any width are one density
    b, s, n = basis[~inside], size[~inside], counts[~inside]
    theta = np.zeros(DEGREE + 1)
    theta[0] = math.log(n.sum() / s.sum())

    def loss(theta: np.ndarray) -> float:
        eta = b @ theta
        return float((s * np.exp(eta) - n * eta).sum())

    current = loss(theta)
    for _ in range(_TURNS):
        rate = s * np.exp(b @ theta)
        information = b.T @ (rate[:, None] * b)
        step = np.linalg.solve(information, b.T @ (n - rate))
        share = 1.0
        with np.errstate(over="ignore"):  # a step too long, which is then shortened
            while (new := loss(theta + share * step)) > current + 1e-12 * abs(current):
                share /= 2
        theta = theta + share * step
        if current - new < 1e-10 * (1 + abs(new)):
            break
        current = new
    rates = size * np.exp(basis @ theta)
    slope = rates[inside] @ basis[inside]
    variance = float(slope @ np.linalg.solve(information, slope))
    wanted = np.maximum(rates[~inside], 1e-300)
    each = np.where(n > 0, n * np.log(np.maximum(n, 1) / wanted), 0.0) - n + wanted
    return rates, variance, _chi_squared_p(2 * float(each.sum()), len(n) - DEGREE - 1)


def _chi_squared_p(value: float, freedom: int) -> float:
    if freedom < 1:
        return math.nan
    half = torch.tensor([freedom / 2, value / 2], dtype=torch.float64)
    return torch.special.gammaincc(half[0], half[1]).item()
