"""Figures by the kind of log p: what a model says it is, how it is drawn, and how it is printed."""

import math
import re
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

import glowkit
from glowkit.bijections import ElementwiseAffine, ExactDivergence, ExactLogDet, Integrate, Residual
from glowkit.core import MIDPOINT, Generator, GlowkitError, LogPKind, weakest
from glowkit.core.noise import NoiseSpec, OfEach, draw
from glowkit.data import open_source
from glowkit.densities import (
    Dequantize,
    Hutchinson,
    RussianRoulette,
    Split,
    StandardNormal,
    Then,
    ThenEstimated,
    Uniform,
    WithVectors,
)
from glowkit.nets import lipschitz_mlp, velocity_mlp
from glowkit.tasks.anomalies.statistics import Reading, costs
from glowkit.tasks.evaluation import evaluate
from glowkit.tasks.likelihood import drawn_log_p, mean_of_draws
from glowkit.tasks.points import evaluate_points
from glowkit.tasks.tables import evaluate_rows
from glowkit.training import objective


class Noisy(StandardNormal):
    """A standard normal whose log p is drawn: of each example, and once for all of a batch."""

    own, shared = 1.0, 0.0

    @property
    def log_p_kind(self) -> LogPKind:
        return "estimate"

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        noises, log_p = super().encode(x, context)
        if generator is MIDPOINT:
            return noises, log_p
        log_p = log_p + self.own * draw(NoiseSpec(()), len(x), x, generator=generator)
        if isinstance(generator, OfEach):
            return noises, log_p
        return noises, log_p + self.shared * draw(NoiseSpec(()), 1, x, generator=generator)


class Bounded(StandardNormal):
    @property
    def log_p_kind(self) -> LogPKind:
        return "bound"


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_composite_is_of_the_weakest_kind_of_its_parts() -> None:
    assert weakest("exact", "estimate", "bound") == "estimate"
    assert weakest("bound", "exact") == "bound"
    exact, noisy, bounded = StandardNormal((2,)), Noisy((2,)), Bounded((2,))
    for inside in (exact, noisy, bounded):
        kind = inside.log_p_kind
        assert Then(ElementwiseAffine((2,)), inside).log_p_kind == kind
        assert Split(2, exact, inside).log_p_kind == kind
        assert Split(2, inside, exact).log_p_kind == kind
        assert WithVectors(1, inside).log_p_kind == kind
        wanted = "estimate" if inside is noisy else "bound"
        assert Dequantize(Uniform((2,)), inside, 4).log_p_kind == wanted
    assert Split(2, noisy, bounded).log_p_kind == "estimate"
    assert Dequantize(noisy, exact, 4).log_p_kind == "estimate"
    assert glowkit.build("glow-tiny").log_p_kind == "bound"
    assert glowkit.build("glow-points").log_p_kind == "exact"


def test_noise_of_dequantization_that_knows_only_a_bound_is_refused() -> None:
    with pytest.raises(GlowkitError, match="Bounded, knows only a lower bound on its own log q"):
        Dequantize(Bounded((2,)), StandardNormal((2,)), 4)


def test_importance_samples_and_draws_are_refused_where_useless_or_wrong() -> None:
    x = torch.zeros(3, 2)
    for model, asked, sentence in (
        (StandardNormal((2,)), {"importance_samples": 2}, "log p is exact, so that they would be"),
        (Noisy((2,)), {"importance_samples": 2}, "unbiased estimate of log p biased"),
        (StandardNormal((2,)), {"draws": 2}, "this model's is exact: leave out --draws"),
        (Bounded((2,)), {"draws": 2}, "a bound, which importance samples tighten"),
    ):
        with pytest.raises(GlowkitError, match=sentence):
            drawn_log_p(model, x, **asked)
        with pytest.raises(GlowkitError, match=sentence):
            evaluate_points(model, [(x, None)], 0.0, lambda x: x[:, 0], **asked)
        with pytest.raises(GlowkitError, match=sentence):
            evaluate_rows(model, [(x, None)], torch.ones(2), **asked)
    images = torch.zeros(3, 2, dtype=torch.uint8)
    with pytest.raises(GlowkitError, match="biased"):
        glowkit.bits_per_dim(Dequantize(Uniform((2,)), Noisy((2,)), 4), images, None, None, 2)


def test_importance_samples_of_a_bound_on_points_tighten_it() -> None:
    class Loose(Bounded):
        def encode(
            self, x: Tensor, context: Tensor | None = None, generator: Generator = None
        ) -> tuple[list[Tensor], Tensor]:
            noises, log_p = super().encode(x, context)
            noise = draw(NoiseSpec(()), len(x), x, generator=generator)
            return noises, log_p + noise - 0.5  # E[exp(noise − ½)] = 1

    x = torch.randn(2000, 2, generator=seeded(0))
    known = StandardNormal((2,))
    found = [
        evaluate_points(Loose((2,)), [(x, None)], 0.0, known.log_prob, samples, seeded(1))
        for samples in (1, 4, 64)
    ]
    gaps = [each.paired_kl_nats for each in found]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] == pytest.approx(0.5, abs=0.1)
    assert 0 < gaps[-1] < 0.03
    assert [each.kind for each in found] == ["bound"] * 3
    assert [each.importance_samples for each in found] == [1, 4, 64]


@pytest.mark.parametrize(("own", "shared"), [(2.0, 0.0), (0.0, 0.5), (1.0, 0.5)])
def test_the_standard_error_counts_the_variance_of_draws(own: float, shared: float) -> None:
    """Means of fresh examples with fresh draws, in 3 batches, spread as standard errors say."""
    means, errors, generator = [], [], seeded(0)
    for _ in range(300):
        log_p = torch.randn(3, 1, 20, generator=generator)
        log_p = log_p + own * torch.randn(3, 6, 20, generator=generator)
        log_p = log_p + shared * torch.randn(3, 6, 1, generator=generator)
        mean, error = mean_of_draws(list(log_p))
        means.append(mean)
        errors.append(error**2)
    spread, said = torch.tensor(means).var(), torch.tensor(errors).mean()
    # The variance of 300 normal means is known to √(2/299) = 8 %.
    assert abs(spread / said - 1) < 4 * math.sqrt(2 / 299)


def test_more_draws_of_an_estimate_come_nearer_without_bias() -> None:
    images = torch.randint(0, 4, (200, 2), generator=seeded(0), dtype=torch.uint8)
    model = Dequantize(Uniform((2,)), Noisy((2,)), 4)
    without = Dequantize(Uniform((2,)), StandardNormal((2,)), 4)
    exact = evaluate(without, [(images, None)] * 20, generator=seeded(1)).bits_per_dim
    found = evaluate(model, [(images, None)], generator=seeded(2), draws=100)
    assert (found.kind, found.draws, found.importance_samples) == ("estimate", 100, 1)
    assert abs(found.bits_per_dim - exact) < 5 * found.standard_error
    assert found.standard_error < evaluate(model, [(images, None)]).standard_error


def test_anomalies_average_an_estimate_and_draw_an_exact_likelihood_once() -> None:
    x = torch.randn(50, 2, generator=seeded(0))
    known = -StandardNormal((2,)).log_prob(x).double()
    reading = Reading(draws=400, batch_size=20, seed=0)
    assert torch.equal(costs(StandardNormal((2,)), x, reading, 0), known)
    off = costs(Noisy((2,)), x, reading, 0) - known
    assert 0 < off.abs().max() < 5 / math.sqrt(400)


@pytest.mark.parametrize(("kind", "sign"), [("exact", "="), ("bound", "≤"), ("estimate", "≈")])
def test_figures_are_printed_by_kind(kind: LogPKind, sign: str) -> None:
    common = {"kind": kind, "importance_samples": 3, "draws": 5, "standard_error": 0.1}
    images = {"bits_per_dim": 2.0, "levels": 17, "largest_pixel_error": 0, "images": 10}
    images |= {"broken_images": 0, "round_trip_images": 10, "not_finite_images": 0}
    points = {"nll_nats": 2.0, "entropy_nats": 1.0, "kl_nats": 1.0, "paired_kl_nats": 1.0}
    points |= {"paired_standard_error": 0.1, "points": 10, "largest_error": 0.0}
    rows = {"nll_nats": 2.0, "rows": 10, "largest_error": 0.0, "round_trip_rows": 10}
    told = [
        objective.IMAGES.text({**common, **images}),
        objective.POINTS.text({**common, **points, "broken_points": 0}),
        objective.TABLES.text({**common, **rows, "broken_rows": 0}),
    ]
    drawn = {"exact": None, "bound": "importance samples", "estimate": "draws"}[kind]
    for text, names in zip(told, (["bits/dim"], ["NLL", "KL", "KL, paired"], ["NLL"]), strict=True):
        for name in names:
            assert re.match(rf"{sign} \d\.\d+ ± 0\.1", text[name])
        assert {"importance samples", "draws"} & text.keys() == ({drawn} if drawn else set())
    assert told[2]["log-likelihood"].startswith("≥ -2" if kind == "bound" else f"{sign} -2")


ESTIMATED = {
    "residual": lambda: ThenEstimated(
        Residual(lipschitz_mlp(2, 8, 1, bound=0.5), ExactLogDet()),
        StandardNormal((2,)),
        RussianRoulette(),
        shape=(2,),
    ),
    "integral": lambda: ThenEstimated(
        Integrate(velocity_mlp(2, 8, 1, 5), 2, ExactDivergence()),
        StandardNormal((2,)),
        Hutchinson(),
        shape=(2,),
    ),
}


@pytest.mark.parametrize("name", ESTIMATED)
def test_an_estimated_log_determinant_is_printed_as_an_estimate(name: str) -> None:
    """From a density made by hand to what a person reads of it."""
    model, source = ESTIMATED[name](), open_source("points:moons")
    points = source.splits["test"].__getitems__(slice(64))
    batches = [(points, None)]
    text = objective.POINTS.text(
        objective.POINTS.evaluate(model, source, batches, 1, seeded(0), draws=2)
    )
    for line in ("NLL", "KL", "KL, paired"):
        assert text[line].startswith("≈ "), line
    assert "an unbiased estimate" in text["NLL"]
    assert text["draws"].startswith("2, averaged")
    integrates = name == "integral"
    assert ("by integration" in text["NLL"]) == ("NLL, steps x 2" in text) == integrates
    rows = objective.TABLES.text(asdict(evaluate_rows(model, batches, torch.ones(2))))
    assert rows["NLL"].startswith("≈ ")
    assert rows["log-likelihood"].startswith("≈ ")
