"""The synthetic events of a search are what their densities say."""

import math

import pytest
import torch

from glowkit.data.resonance import (
    WINDOW,
    draw_background,
    log_background,
    optimal_score,
    synthetic,
)
from glowkit.tasks.resonance import significance_improvement


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_synthetic_background_is_what_its_density_says() -> None:
    """A histogram of x₂ given m, and of m itself, against the closed forms."""
    x, m = draw_background(200_000, seeded())
    assert m.min() > 0 and m.max() < 1  # noqa: PT018
    wanted = math.expm1(-0.5 / 0.5) / math.expm1(-1 / 0.5)  # P(m < 1/2)
    assert (m < 0.5).double().mean().item() == pytest.approx(wanted, abs=0.005)
    at = torch.linspace(1e-6, 12, 400_001, dtype=torch.float64)
    grid = torch.zeros(len(at), 4, dtype=torch.float64)
    grid[:, 1] = at
    mass = torch.full_like(at, 0.3)
    others = -0.5 * (0.3**2) - 1.5 * math.log(2 * math.pi)  # x₁, x₃ and x₄ at 0
    p = (log_background(grid, mass) - others).exp()
    assert torch.trapezoid(p, at).item() == pytest.approx(1, abs=1e-4)
    x, _ = draw_background(100_000, seeded(1), (0.3, 0.3 + 1e-9))
    below = torch.trapezoid(p[at <= 1], at[at <= 1]).item()
    assert (x[:, 1] <= 1).double().mean().item() == pytest.approx(below, abs=0.007)
    assert log_background(-grid[-1:], mass[-1:]).item() == -math.inf


def test_a_window_of_synthetic_events_holds_both_kinds() -> None:
    events = synthetic(seeded(), 1000, 500, WINDOW)
    assert events.truth is not None
    assert bool(((events.m >= WINDOW[0]) & (events.m <= WINDOW[1])).all())
    assert int(events.truth.sum()) == 500
    assert events.m[events.truth].mean().item() == pytest.approx(0.5, abs=0.004)


def test_no_score_beats_the_optimal_one() -> None:
    events = synthetic(seeded(), 100_000, 5000, WINDOW)
    assert events.truth is not None
    best = significance_improvement(optimal_score(events.x, events.m), events.truth, 100)
    for other in (events.x.sum(1), -log_background(events.x, events.m), events.x[:, 1]):
        assert significance_improvement(other, events.truth, 100).max_sic < best.max_sic
    assert best.max_sic > 15
