"""Figures of rows: of densities that are known, and of the Gaussians that they are held against."""

import math

import pytest
import torch

import glowkit
from glowkit.bijections import Standardize, standardize
from glowkit.densities import StandardNormal, Then
from glowkit.pictures.pairs import pairs_image
from glowkit.tasks.tables import DECODED, evaluate_rows, row_baselines

GENERATOR = torch.Generator().manual_seed(0)


def normal(n: int, d: int) -> torch.Tensor:
    return torch.randn(n, d, generator=GENERATOR)


def test_the_figures_of_a_density_that_is_known() -> None:
    """Rows of N(μ, σ²) in units of their own, under the standardised normal."""
    scale = torch.tensor([100.0, 1e-3])
    x = normal(5000, 2) * scale + torch.tensor([7.0, 2.0])
    model = Then(Standardize(2), StandardNormal((2,)), (2,))
    standardize(model, x)
    figures = evaluate_rows(model, [(part, None) for part in x.split(1500)], scale)
    truth = 1 + math.log(2 * math.pi) + float(scale.log().sum())
    assert abs(figures.nll_nats - truth) < 4 * figures.standard_error
    assert figures.rows == 5000
    assert figures.round_trip_rows == DECODED
    assert figures.largest_error < 1e-3
    assert figures.broken_rows == figures.not_finite_rows == 0


def test_what_is_not_finite_is_counted() -> None:
    model = Then(Standardize(2), StandardNormal((2,)), (2,))
    x = torch.tensor([[0.0, 1.0], [math.nan, 0.0], [1.0, 1.0]])
    figures = evaluate_rows(model, [(x, None)], torch.ones(2))
    assert (figures.broken_rows, figures.not_finite_rows) == (1, 1)
    assert math.isnan(figures.largest_error)
    assert math.isnan(figures.nll_nats)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(glowkit.GlowkitError, match="at least 2 rows"):
        evaluate_rows(StandardNormal((2,)), [(torch.zeros(1, 2), None)], torch.ones(2))
    with pytest.raises(glowkit.GlowkitError, match="at least 20"):
        row_baselines((torch.zeros(5, 2), None), (torch.zeros(5, 2), None))


def test_a_gaussian_is_found_in_the_datas_units() -> None:
    train, test = normal(2000, 2) * 50, normal(2000, 2) * 50
    found = row_baselines((train, None), (test, None))
    assert list(found) == ["Gaussian"]  # BIC wants no more
    truth = 1 + math.log(2 * math.pi) + 2 * math.log(50)
    assert found["Gaussian"] == pytest.approx(truth, abs=0.08)


def test_two_clusters_are_found_as_a_mixture() -> None:
    train, test = (normal(1000, 2) + 20 * torch.randint(2, (1000, 1), generator=GENERATOR)
                   for _ in range(2))  # fmt: skip
    found = row_baselines((train, None), (test, None))
    truth = 1 + math.log(2 * math.pi) + math.log(2)
    assert found["mixture of 2 Gaussians"] == pytest.approx(truth, abs=0.1)
    assert found["Gaussian"] > truth + 1


def test_given_a_context_the_gaussian_is_linear_regression() -> None:
    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        c = 3 * normal(4000, 2)
        return 10 * (c.sum(1, keepdim=True) + 0.1 * normal(4000, 1)), c

    found = row_baselines(draw(), draw())
    truth = 0.5 * math.log(2 * math.pi * math.e)  # of N(·, 1²)
    assert found["Gaussian"] == pytest.approx(truth, abs=0.05)


def test_pair_plots_are_drawn_of_six_columns_at_most_and_without_what_is_lost() -> None:
    samples = normal(30, 8)
    samples[3, 1] = math.nan
    few = pairs_image(["a"], normal(30, 1), normal(30, 1))
    many = pairs_image([f"column number {i}" for i in range(8)], normal(30, 8), samples)
    assert few.width < many.width < 1000
    constant = torch.zeros(30, 2)
    assert pairs_image(["a", "b"], constant, constant).height > 100
