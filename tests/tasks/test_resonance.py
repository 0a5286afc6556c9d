"""A search for a resonance: no event is scored by what it trained, and bad input is refused."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from glowkit import GlowkitError
from glowkit.data.resonance import (
    WINDOW,
    Events,
    draw_background,
    optimal_score,
    synthetic,
)
from glowkit.tasks import fitting
from glowkit.tasks.resonance import (
    METHODS,
    hunt,
    hunt_in,
    idealised,
    regions_of,
    scan,
    sideband,
    significance_improvement,
)
from glowkit.tasks.resonance import anode as anode_file
from glowkit.tasks.resonance import classifier as classifier_file
from glowkit.tasks.resonance.hunting import scan_windows


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of a few steps: what they learn is another test's."""
    for name, value in {"LEAST_STEPS": 10, "PASSES": 0, "STEPS": 1, "WIDTH": 8}.items():
        monkeypatch.setattr(sideband, name, value)
    for module in (sideband, anode_file, classifier_file):
        monkeypatch.setattr(module, "FOLDS", 2)
    monkeypatch.setattr(anode_file, "STEPS", 10)
    monkeypatch.setitem(classifier_file.SETTINGS, "max_iter", 3)
    monkeypatch.setitem(classifier_file.SETTINGS, "max_leaf_nodes", 4)


@pytest.fixture(scope="module")
def events() -> Events:
    return synthetic(seeded(), background=3000, signal=100)


# Regions.


def test_what_lies_beyond_the_side_bands_is_dropped_and_counted(events: Events) -> None:
    x, inside = events.x.clone(), (events.m > WINDOW[0]) & (events.m < WINDOW[1])
    x[torch.nonzero(inside)[:3, 0], 0] = 99.0
    regions = regions_of(x, events.m, WINDOW, generator=seeded())
    assert regions.dropped[0] == 3 + regions_of(events.x, events.m, WINDOW).dropped[0]
    assert 0 < regions.dropped[1] <= 8  # the extremes of four features
    assert len(regions.rows) + sum(regions.dropped) == len(x)
    assert torch.equal(x[regions.rows], regions.x)
    assert torch.equal(regions.inside, inside[regions.rows])


def test_the_scale_of_the_flows_inverts_and_knows_its_slope(events: Events) -> None:
    regions = regions_of(events.x, events.m, WINDOW, generator=seeded())
    z, ladj = regions.scale.features(regions.x)
    back = regions.scale.undo(z)
    assert torch.allclose(back, regions.x, atol=1e-4)
    step = torch.full((1, 4), 1e-5, dtype=torch.float64)
    near = (regions.x - regions.low > 1e-2).all(1) & (regions.high - regions.x > 1e-2).all(1)
    moved = [regions.scale.features(regions.x[near] + sign * step)[0].double() for sign in (1, -1)]
    assert moved[0].isfinite().all()
    wide = regions.x[near].requires_grad_()
    logits = torch.logit((wide - regions.low) / (regions.high - regions.low))
    (slopes,) = torch.autograd.grad((logits / regions.scale.spread).sum(), wide)
    assert torch.allclose(slopes.log().sum(1), ladj[near])
    deviations = z[~regions.inside].std(0)
    assert torch.allclose(deviations, torch.ones(4), atol=1e-3)


def broken(events: Events, how: str) -> tuple[Tensor, Tensor, tuple[float, float]]:
    x, m, window = events.x.clone(), events.m.clone(), WINDOW
    if how == "window outside":
        window = (1.5, 1.6)
    elif how == "window reversed":
        window = (0.55, 0.45)
    elif how == "few below":
        window = (float(m.sort().values[50]), 0.5)
    elif how == "few above":
        window = (0.5, float(m.sort().values[-50]))
    elif how == "few inside":
        window = (0.5, 0.5001)
    elif how == "no features":
        x = x[:, :0]
    elif how == "NaN feature":
        x[7, 2] = math.nan
    elif how == "infinite mass":
        m[7] = math.inf
    elif how == "constant":
        x[:, 1] = 3.0
    elif how == "three values":
        x[:, 1] = torch.arange(len(x)) % 3
    elif how == "shapes":
        m = m[:-1]
    return x, m, window


REFUSED = {
    "window outside": "reaches beyond the data",
    "window reversed": "is empty",
    "few below": "events below",
    "few above": "events above",
    "few inside": "events in the window",
    "no features": "at least 1 feature",
    "NaN feature": "feature c has NaN",
    "infinite mass": "resonant variable is NaN or infinite in 1 of",
    "constant": "feature b has the same value",
    "three values": "feature b has too few values .* leave it out",
    "shapes": r"\(N,\)",
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_no_search_can_be_made_with_is_refused(events: Events, how: str) -> None:
    x, m, window = broken(events, how)
    with pytest.raises(GlowkitError, match=REFUSED[how]):
        hunt(x, m, window, names="abcd"[: x.shape[1]])


def test_other_words_are_refused(events: Events) -> None:
    with pytest.raises(GlowkitError, match="no method 'flow'; choose one of cathode"):
        hunt(events.x, events.m, WINDOW, method="flow")
    with pytest.raises(GlowkitError, match="give a name for each"):
        hunt(events.x, events.m, WINDOW, names=["a"])


# Hunts.


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("quick")
def test_every_event_has_a_score_and_the_seed_decides_it(events: Events, method: str) -> None:
    found = hunt(events.x, events.m, WINDOW, method, seeded(3))
    assert found.scores.shape == events.m.shape
    kept = torch.zeros(len(events), dtype=torch.bool)
    kept[found.regions.rows] = True
    assert found.scores[kept].isfinite().all()
    assert (found.scores[~kept] == -math.inf).all()
    assert len(found.p_values) == len(found.excesses) - 1 == 3
    again = hunt(events.x, events.m, WINDOW, method, seeded(3))
    assert torch.equal(found.scores, again.scores)
    fresh = synthetic(seeded(5), 50, 50, WINDOW)
    x = torch.cat([fresh.x, torch.full((1, 4), 1e6, dtype=torch.float64)])
    others = found.score(x, torch.cat([fresh.m, fresh.m[:1]]))
    assert others[:-1][found.regions.within(fresh.x)].isfinite().all()
    assert others[-1] == -math.inf


@pytest.mark.usefixtures("quick")
def test_methods_do_not_disturb_each_other(events: Events) -> None:
    alone = hunt(events.x, events.m, WINDOW, "cathode", seeded(3)).scores
    regions = regions_of(events.x, events.m, WINDOW, generator=seeded(3))
    hunt_in(regions, "anode")
    assert torch.equal(hunt_in(regions, "cathode").scores, alone)


@pytest.mark.parametrize("method", ["cathode", "anode", "cwola"])
@pytest.mark.usefixtures("quick")
def test_no_event_is_scored_by_what_it_trained(
    events: Events, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are followed by x₄, which no two events share, through training and scoring."""
    regions = regions_of(events.x, events.m, WINDOW, generator=seeded())
    z = regions.scale.features(regions.x)[0]
    seen: list[set[float]] = []

    class Memory:
        def __init__(self, x: Tensor) -> None:
            self.rows = set(x[:, 3].tolist())
            seen.append(self.rows)

        def decision_function(self, x: Any) -> Any:
            assert not self.rows & set(x[:, 3].tolist())
            return x[:, 0]

    def remember(x: Tensor, *_: object, **__: object) -> Memory:
        return Memory(x)

    real = anode_file.fit

    def fit(model: Any, x: Tensor, *rest: Any, **options: Any) -> Any:
        seen.append(set(x[:, 3].tolist()))
        return real(model, x, *rest, **options)

    monkeypatch.setattr(classifier_file, "boosted", remember)
    monkeypatch.setattr(anode_file, "fit", fit)
    hunt_in(regions, method)
    values = z if method == "anode" else regions.x
    assert len(seen) == sideband.FOLDS * sideband.HALVES
    for place, rows in enumerate(seen):
        own = values[(regions.folds == place // sideband.HALVES), 3].tolist()
        assert not rows & set(own)


@pytest.mark.usefixtures("quick")
def test_no_event_beside_the_window_is_scored_by_a_flow_that_saw_it(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    regions = regions_of(events.x, events.m, WINDOW, generator=seeded())
    z = regions.scale.features(regions.x)[0]
    seen: list[set[float]] = []

    def fit(model: Any, x: Tensor, *rest: Any, **options: Any) -> Any:
        seen.append(set(x[:, 3].tolist()))
        return fitting.fit(model, x, *rest, **options)

    monkeypatch.setattr(sideband, "fit", fit)
    flows = regions.background
    middle = torch.full_like(regions.m, 0.5)
    ours = regions.held_out_log_background(middle)
    c, ladj = regions.scale.context(middle), regions.scale.features(regions.x)[1]
    for half, (flow, rows) in enumerate(zip(flows, seen, strict=True)):
        own = regions.halves == half
        assert not rows & set(z[own, 3].tolist())
        assert not rows & set(z[regions.inside, 3].tolist())
        assert torch.allclose(ours[own], flow.log_prob(z[own], c[own]).double() + ladj[own])


@pytest.mark.usefixtures("quick")
def test_one_feature_is_enough(events: Events) -> None:
    for method in ("cathode", "anode"):
        scores = hunt(events.x[:, :1], events.m, WINDOW, method, seeded()).scores
        assert int(scores.isfinite().sum()) > 3000


@pytest.mark.usefixtures("quick")
def test_a_scan_counts_its_tries(events: Events) -> None:
    windows = scan_windows(events.m, WINDOW, 200)
    assert WINDOW in windows
    assert len(windows) > 3
    assert scan_windows(events.m, WINDOW, len(events)) == [WINDOW]  # whatever it holds
    found = scan(events.x, events.m, windows[:2], "density", seeded())
    every = [excess.p_value for each in found.excesses for excess in each]
    lowest = min(p for p in every if not math.isnan(p))
    assert found.windows == tuple(windows[:2])
    assert lowest <= found.global_p_value <= len(every) * lowest


def test_classifiers_find_a_strong_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """With true background for a reference; the flow's part is in the slow test."""
    monkeypatch.setitem(classifier_file.SETTINGS, "max_iter", 20)
    monkeypatch.setitem(classifier_file.SETTINGS, "learning_rate", 0.2)
    strong = synthetic(seeded(), background=10_000, signal=200)
    regions = regions_of(strong.x, strong.m, WINDOW, generator=seeded())
    true, _ = draw_background(2500, seeded(1), WINDOW)
    found = hunt_in(regions, lambda regions, own: idealised(regions, own, true))
    test = synthetic(seeded(2), 30_000, 3000, WINDOW)
    assert test.truth is not None
    scores = found.score(test.x, test.m)
    best = significance_improvement(optimal_score(test.x, test.m), test.truth, 30)
    assert significance_improvement(scores, test.truth, 30).max_sic > 0.7 * best.max_sic
    assert found.excesses[2].significance > 5  # after the cut to 1 %


@pytest.mark.slow
@pytest.mark.parametrize(("method", "least"), [("cathode", 0.65), ("anode", 0.5)])
def test_a_search_comes_near_the_optimum(method: str, least: float) -> None:
    """Of one seed; `python -m benchmarks.resonance` asks many."""
    data = synthetic(seeded())
    found = hunt(data.x, data.m, WINDOW, method, seeded())
    test = synthetic(seeded(1), 200_000, 20_000, WINDOW)
    assert test.truth is not None
    best = significance_improvement(optimal_score(test.x, test.m), test.truth, 200)
    ours = significance_improvement(found.score(test.x, test.m), test.truth, 200)
    assert ours.max_sic > least * best.max_sic


# The loop that trains the flows.


@pytest.mark.usefixtures("quick")
def test_the_loop_learns_a_density_that_is_given_a_context() -> None:
    context = torch.randn(4000, 1, generator=seeded())
    x = 2 * context + 0.5 * torch.randn(4000, 1, generator=seeded(1))
    model = sideband.conditional_flow(1, seeded())
    found = fitting.fit(model, x, context, 100, 3e-2, seeded())
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.25)
    assert min(found.validation_nats) == pytest.approx(entropy, abs=0.15)
    assert found.validation_nats[0] > found.validation_nats[-1]
    drawn = found.sample(torch.ones(2001, 1), seeded())
    assert drawn.mean().item() == pytest.approx(2, abs=0.1)
    each = torch.stack([model.log_prob(x[:50], context[:50]) for model in found.models])
    assert torch.allclose(found.log_prob(x[:50], context[:50]), each.exp().mean(0).log(), atol=1e-4)


def test_the_start_of_a_flow_is_seeded_on_the_cpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    of_gpus: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", of_gpus.append)
    sideband.conditional_flow(1, seeded())
    assert not of_gpus


def test_a_loss_that_is_never_finite_is_said() -> None:
    model = sideband.conditional_flow(1, seeded())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(math.nan)
    x = torch.randn(200, 1, generator=seeded())
    with pytest.raises(GlowkitError, match="its loss is not finite"):
        fitting.fit(model, x, x, 10, 1e-3, seeded())


def test_resampling_stays_in_the_window() -> None:
    m = 0.45 + 0.1 * torch.rand(500, dtype=torch.float64, generator=seeded())
    drawn = sideband.resample(m, WINDOW, 20_000, seeded())
    assert bool(((drawn >= WINDOW[0]) & (drawn <= WINDOW[1])).all())
    assert drawn.mean().item() == pytest.approx(m.mean().item(), abs=0.002)
