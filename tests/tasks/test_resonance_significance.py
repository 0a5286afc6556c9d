"""Significance improvement and the bump hunt against what is known of them."""

import math
import statistics

import pytest
import torch

from glowkit import GlowkitError
from glowkit.data.resonance import WINDOW, draw_background
from glowkit.tasks.resonance.significance import (
    bump_hunt,
    deviations,
    global_p_value,
    p_value,
    significance_improvement,
    significance_of,
)


def test_improvement_by_hand() -> None:
    """Ten events: of cuts that keep two or more of five background events."""
    scores = torch.tensor([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    truth = torch.tensor([1, 1, 0, 1, 0, 1, 0, 0, 1, 0]).bool()
    curve = significance_improvement(scores, truth, least=2)
    best = 0.8 / math.sqrt(2 / 5)  # down to 4: four of five signals, two of five others
    assert curve.max_sic == pytest.approx(best)
    assert curve.best_efficiency == pytest.approx(0.8)
    assert curve.auc == pytest.approx(18 / 25)  # pairs in the right order
    assert curve.signal_efficiency[0] == 1
    assert curve.background_efficiency[0] == 1


def test_equal_scores_are_cut_together() -> None:
    truth = torch.tensor([1, 0, 1, 0, 1, 0]).bool()
    curve = significance_improvement(torch.zeros(6), truth, least=1)
    assert curve.max_sic == 1
    assert curve.auc == 0.5


def test_minus_infinity_is_never_kept() -> None:
    scores = torch.tensor([1.0, 0.5, -math.inf, -math.inf])
    truth = torch.tensor([True, False, True, False])
    curve = significance_improvement(scores, truth, least=1)
    assert curve.signal_efficiency.max() == 0.5
    with pytest.raises(GlowkitError, match="too few have a finite score"):
        significance_improvement(scores, truth, least=2)


@pytest.mark.parametrize(
    ("scores", "truth", "words"),
    [
        ([1.0, math.nan] * 50, [True, False] * 50, "50 of 100 scores are NaN"),
        ([1.0, 2.0] * 20, [True, False] * 20, "at least 25 events of background"),
        ([1.0, 2.0] * 50, [False] * 100, "there are 0 and 100"),
        ([1.0] * 4, [True] * 3, "of bool"),
    ],
)
def test_what_has_no_improvement_is_refused(
    scores: list[float], truth: list[bool], words: str
) -> None:
    with pytest.raises(GlowkitError, match=words):
        significance_improvement(torch.tensor(scores), torch.tensor(truth))


def test_significance_is_li_and_ma_s() -> None:
    """n on, k off, a region α times as large: b = α k, σ² = α² k."""
    n, k, alpha = 30, 50, 0.4
    term = n * math.log((1 + alpha) / alpha * n / (n + k)) + k * math.log((1 + alpha) * k / (n + k))
    ours = significance_of(n, alpha * k, alpha * math.sqrt(k))
    assert ours == pytest.approx(math.sqrt(2 * term))
    assert significance_of(120, 100, 1e-4) == pytest.approx(significance_of(120, 100, 0), rel=1e-6)
    assert significance_of(80, 100, 5) < 0
    assert significance_of(0, 5, 1) < -2


def test_p_values_and_deviations_are_inverse() -> None:
    for z in (-2.0, 0.0, 1.5, 6.0):
        assert deviations(p_value(z)) == pytest.approx(z, abs=1e-9)
    assert global_p_value([1e-3] * 10) == pytest.approx(1 - 0.999**10)
    assert math.isnan(global_p_value([math.nan]))
    assert global_p_value([p_value(-9.0)]) == 1  # of few events where many are expected


@pytest.mark.parametrize("share", [1.0, 0.05, 0.005])
def test_excesses_of_background_alone_are_standard_normal(share: float) -> None:
    """Of a cut that is made by chance, over 40 draws of 40,000 events."""
    found, fits = [], []
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        _, m = draw_background(40_000, generator)
        kept = torch.rand(len(m), generator=generator) < share
        excess = bump_hunt(m, kept, WINDOW, share, 0.0)
        found.append(excess.significance)
        fits.append(excess.fit_p_value)
    assert abs(statistics.mean(found)) < 0.5  # three standard errors
    assert 0.7 < statistics.stdev(found) < 1.35
    assert statistics.mean(fits) > 0.15


def test_an_excess_is_found_and_counted() -> None:
    generator = torch.Generator().manual_seed(0)
    _, m = draw_background(40_000, generator)
    m = torch.cat([m, 0.5 + 0.02 * torch.randn(500, dtype=torch.float64, generator=generator)])
    excess = bump_hunt(m, torch.ones_like(m, dtype=torch.bool), WINDOW, 1.0, 0.0)
    assert excess.observed == int(((m > WINDOW[0]) & (m < WINDOW[1])).sum())
    assert excess.observed - excess.expected == pytest.approx(494, abs=180)
    assert excess.significance > 4
    assert int(excess.counts.sum()) == len(m)


def test_too_few_events_beside_the_window_are_not_fitted() -> None:
    _, m = draw_background(4000, torch.Generator().manual_seed(0))
    kept = torch.zeros_like(m, dtype=torch.bool)
    kept[:15] = True
    narrow = (m > 0.1) & (m < 0.2)  # enough events, in too few bins
    for chosen in (kept, narrow):
        assert math.isnan(bump_hunt(m, chosen, WINDOW, 0.001, 0.0).expected)
    excess = bump_hunt(m, kept, WINDOW, 0.001, 0.0)
    assert math.isnan(excess.expected)
    assert math.isnan(excess.significance)
    assert math.isnan(excess.p_value)
