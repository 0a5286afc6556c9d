"""Integrals: unbiased with honest errors, whatever the function; and what is refused."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import glowkit
from glowkit.core import Density
from glowkit.tasks.integration import (
    BASELINES,
    Integral,
    Integrand,
    Plane,
    check_baselines,
    integrate,
)
from glowkit.tasks.integration.estimate import (
    Estimate,
    combined,
    consistency,
    effective,
    of_batch,
    of_passes,
    sizes,
)
from glowkit.tasks.integration.losses import chi2, kl, loss_at, variance
from glowkit.tasks.integration.proposal import Mixture, independent, scrambled

LEAST = 6667
LEARNING: dict[str, Any] = {"calls": 16_000, "learning_rate": 1e-2}
SMALL: dict[str, Any] = {"bins": 8, "width": 16, "depth": 1}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def found(f: Callable[[Tensor], Any], dims: int, seed: int = 0, **options: Any) -> Integral:
    options = {"calls": LEAST, "model": glowkit.CubeConfig(max(1, dims), **SMALL), **options}
    return integrate(f, dims, generator=seeded(seed), **options)


def bump(x: Tensor) -> Tensor:
    return (-(x - 0.4).square().sum(1) / 0.05).exp()


def bump_exact(dims: int) -> float:
    side = 0.05**0.5
    return (side * math.sqrt(math.pi) / 2 * (math.erf(0.4 / side) + math.erf(0.6 / side))) ** dims


def pulls(seeds: int, f: Callable[[Tensor], Any], exact: float) -> Tensor:
    results = [found(f, 2, seed) for seed in range(seeds)]
    return torch.tensor([(each.value - exact) / each.error for each in results])


def test_it_is_unbiased_and_its_error_is_honest() -> None:
    pull = pulls(10, bump, bump_exact(2))
    assert abs(pull.mean()) < 4 / 10**0.5
    assert 0.4 < pull.std() < 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["camel:2", "ring"])
def test_two_hundred_seeds(name: str) -> None:
    from glowkit.data.integrands import benchmark_integrand

    f = benchmark_integrand(name)
    pull = pulls(200, f, f.exact)
    assert abs(pull.mean()) < 0.25
    assert 0.8 < pull.std() < 1.25


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "chi2"},
        {"loss": "variance"},
        {"replay": 2},
        {"defensive": 0.0},
        {"defensive": 0.5},
        {"model": None},
    ],
    ids=str,
)
def test_every_way_of_learning_learns(options: dict[str, Any]) -> None:
    result = found(bump, 2, **LEARNING, **options)
    assert abs(result.value - bump_exact(2)) < 5 * result.error
    assert result.effective > 2 * effective(bump(torch.rand(10_000, 2)))
    assert abs(result.training.value - bump_exact(2)) < 5 * result.training.error
    assert 0.2 < result.chi2 < 5


@pytest.mark.parametrize("dims", [1, 3, 8])
def test_any_number_of_dimensions(dims: int) -> None:
    result = found(bump, dims)
    assert abs(result.value - bump_exact(dims)) < 5 * result.error
    assert result.calls <= LEAST
    assert result.integrand.calls == result.calls
    assert result.proposal.sample(3).shape == (3, dims)


def test_bounds() -> None:
    """∫ x y over a box, by a function of numpy, and a flow that lives there."""
    result = found(
        lambda x: np.prod(x.numpy(), axis=1), 2, bounds=[(1, 3), (-2.5, -0.5)], loss="kl"
    )
    assert abs(result.value - 4 * -3) < 5 * result.error < 0.1
    x = result.proposal.sample(1000)
    assert (x >= torch.tensor([1, -2.5])).all()
    assert (x <= torch.tensor([3, -0.5])).all()
    assert result.proposal.log_prob(x).isfinite().all()


def test_signed_functions() -> None:
    """∫ sin 2πx + ¼ = ¼; where f is negative, so are weights of unweighted points."""
    result = found(lambda x: (2 * math.pi * x[:, 0]).sin() + 0.25, 1, loss="variance")
    assert abs(result.value - 0.25) < 5 * result.error < 0.02
    points, weights = result.unweighted(500, seeded(1))
    negative = (2 * math.pi * points[:, 0]).sin() < -0.25
    assert torch.equal(weights < 0, negative)


def test_unweighted_points_are_of_the_density() -> None:
    result = found(bump, 2)
    before = result.integrand.calls
    points, weights = result.unweighted(4000, seeded(1))
    assert points.shape == (4000, 2)
    assert (weights >= 1).all()
    assert (weights == 1).double().mean() > 0.98
    assert result.integrand.calls - before < 3 * 4000 / result.unweighting
    mean = (points * weights[:, None]).sum(0) / weights.sum()
    reference = torch.rand(400_000, 2, dtype=torch.float64, generator=seeded(2))
    w = bump(reference)
    exact = (reference * w[:, None]).sum(0) / w.sum()
    assert (mean - exact).abs().max() < 5 * 0.16 / 4000**0.5


def test_a_seed_repeats_it_and_leaves_the_global_ones_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(5)
    state, of_gpus = torch.get_rng_state(), []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", of_gpus.append)
    first, second, other = found(bump, 2), found(bump, 2), found(bump, 2, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert not of_gpus
    assert first.value == second.value != other.value


def test_an_error_that_is_asked_for_ends_it() -> None:
    result = found(bump, 2, calls=100_000, relative_error=0.02)
    assert result.calls < 50_000
    assert result.relative_error < 0.02


def test_a_flow_goes_on_from_another_result(tmp_path: Any) -> None:
    first = found(bump, 2, **LEARNING)
    glowkit.save(first.proposal, tmp_path / "flow")
    second = found(bump, 2, seed=1, model=glowkit.load(tmp_path / "flow"))
    assert second.batches[0].effective > first.batches[0].effective + 0.1


def test_a_flow_on_bounds_goes_on_there_and_nowhere_else() -> None:
    """A second box would misplace it: without uniform points, the integral would be wrong."""
    bounds = [(0.1, 0.5)] * 2  # which float32 rounds
    first = found(bump, 2, bounds=bounds, **LEARNING)
    on = {"defensive": 0.0, "bounds": bounds}
    second = found(bump, 2, seed=1, model=first.proposal.float(), **on)
    assert second.proposal is first.proposal
    assert second.batches[0].effective > first.batches[0].effective + 0.1
    assert abs(second.value - first.value) < 5 * math.hypot(first.error, second.error)
    for other in (None, [(0.1, 0.6)] * 2):
        with pytest.raises(glowkit.GlowkitError, match="on other bounds; give the same ones"):
            found(bump, 2, model=first.proposal, bounds=other)
    unit = found(bump, 2, bounds=[(0, 1)] * 2)
    assert found(bump, 2, model=unit.proposal).proposal is unit.proposal


def test_the_callback_sees_every_step() -> None:
    seen: list[Any] = []
    result = found(bump, 2, callback=seen.append)
    assert [each.step for each in seen] == list(range(1, len(result.batches) + 1))
    assert seen[-1].calls == sum(batch.points for batch in result.batches)
    assert isinstance(seen[0].proposal, Density)


def test_kl_on_a_grid_falls() -> None:
    plane = Plane(Integrand(bump, 2, None), (40, 30))
    result = found(bump, 2, **LEARNING, callback=plane)
    curve = [kl_nats for _, kl_nats in plane.curve]
    assert curve[-1] < 0.3 * curve[0]
    assert plane.divergences(result.proposal).forward == pytest.approx(curve[-1], abs=0.05)
    assert plane.image(plane.values).shape == (30, 40)
    assert [step for step, _ in plane.snapshots] == [1, 10]


def test_a_mixture_has_weights_of_mean_one_whatever_the_flow() -> None:
    torch.manual_seed(0)
    flow = glowkit.build(glowkit.CubeConfig(2, **SMALL)).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    mixture = Mixture(flow, torch.zeros(2).double(), torch.ones(2).double(), 0.1)
    points = independent(2, seeded())
    draws = mixture.draw(20_000, points, points)
    assert mixture.spread(20_000) == 2000
    weights = (-draws.log_mixture).exp()
    assert weights.max() <= 1 / 0.1
    assert abs(weights.mean() - 1) < 5 * weights.std() / len(weights) ** 0.5
    assert torch.allclose(flow.log_prob(draws.x), draws.log_flow, atol=1e-8)


def test_scrambled_points_are_uniform_and_even() -> None:
    points = scrambled(3, seeded())
    x = torch.cat([points(100), points(924)])
    assert x.min() > 0
    assert x.max() < 1
    counts = torch.bincount((x[:, 1] * 64).long(), minlength=64)
    assert (counts == 16).all()
    assert not torch.equal(x[:100], scrambled(3, seeded(1))(100))


def test_losses_have_the_gradients_that_they_say() -> None:
    """Of q = softmax(θ) on three cells of mass ⅓, drawn from uniformly: by hand."""
    f = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)
    theta = torch.tensor([0.1, 0.0, -0.2], dtype=torch.float64, requires_grad=True)
    log_q = theta.log_softmax(0) + math.log(3)  # over uniform
    q = theta.softmax(0).detach()
    (of_kl,) = torch.autograd.grad(kl(f, log_q, -log_q), theta, retain_graph=True)
    assert torch.allclose(of_kl, q - f / f.sum())
    (of_chi2,) = torch.autograd.grad(chi2(f, log_q, -log_q), theta, retain_graph=True)
    moment = ((f / 3) ** 2 / theta.softmax(0)).sum() / (f.sum() / 3) ** 2
    assert torch.allclose(variance(f, log_q, -log_q), moment)
    (of_moment,) = torch.autograd.grad(moment, theta, retain_graph=True)
    assert torch.allclose(of_chi2, of_moment / moment.detach())
    # And of points that q itself drew, each cell as often as it has probability: w = f / q.
    w, none = f / (3 * q), torch.zeros(3, dtype=torch.float64)
    often = (w.square() * q) / (w.square() * q).sum()
    assert torch.allclose(of_chi2, q - often)
    assert torch.allclose(chi2(w * 1e200, log_q, none), chi2(w, log_q, none))
    assert loss_at("chi2", 0.5) is kl


def test_estimates() -> None:
    weights = torch.tensor([1.0] * 999 + [101.0], dtype=torch.float64)
    about = sizes(weights)
    assert about.reference == 1
    assert about.overweight_share == pytest.approx(101 / 1100)
    assert about.largest == pytest.approx(101 / 1.1)
    assert about.half == 450
    assert of_batch(weights).value == pytest.approx(1.1)
    assert math.isnan(consistency([of_batch(weights)]))
    good = [Estimate(1.0 + 0.1 * (-1) ** i, 0.1, 0.5, 100) for i in range(20)]
    assert consistency(good) == pytest.approx(10 / 9)
    assert combined(good[:1] + [Estimate(5.0, 1.0, 0.5, 100)] * 4).value == 5.0
    assert combined(good).error == pytest.approx(0.1 / 19**0.5, rel=0.01)


@pytest.mark.parametrize("size", [1e-200, 1e-170, 1e170, 1e300])
def test_errors_of_integrands_whose_squares_are_no_numbers(size: float) -> None:
    weights = torch.rand(1000, dtype=torch.float64, generator=seeded()) + 0.5
    parts = weights.view(10, 100).mean(1)
    plain, scaled = of_batch(weights), of_batch(weights * size)
    assert scaled.value / size == pytest.approx(plain.value)
    assert scaled.error / size == pytest.approx(plain.error)
    passes = of_passes((parts * size).tolist(), weights * size)
    assert passes.error / size == pytest.approx(of_passes(parts.tolist(), weights).error)
    assert combined([scaled] * 5).error / size == pytest.approx(combined([plain] * 5).error)
    assert of_batch(torch.zeros(5)).error == 0


def test_flat_sampling() -> None:
    one = BASELINES["flat"](Integrand(bump, 2, [(0, 1), (0, 1)]), 20_000, seeded())
    assert abs(one.value - bump_exact(2)) < 5 * one.error
    assert one.points == 20_000


def test_vegas() -> None:
    pytest.importorskip("vegas", exc_type=ImportError)
    function = Integrand(bump, 2, None)
    one = BASELINES["vegas"](function, 20_000, seeded())
    assert abs(one.value - bump_exact(2)) < 5 * one.error
    assert one.points == function.calls <= 20_500


def test_vegas_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "vegas", None)
    with pytest.raises(glowkit.GlowkitError, match=r"pip install 'glowkit\[integrate\]'"):
        BASELINES["vegas"](Integrand(bump, 2, None), 1000, None)
    with pytest.raises(glowkit.GlowkitError, match=r"pip install 'glowkit\[integrate\]'"):
        check_baselines("flat, vegas")
    assert check_baselines(" flat , flat") == ["flat", "flat"]


def nan_in_a_corner(x: Tensor) -> Tensor:
    return torch.where(x.sum(1) > 1.5, torch.nan, 1.0)


@pytest.mark.parametrize(
    ("f", "options", "words"),
    [
        (nan_in_a_corner, {}, r"is nan at the point \(0\.\d+, 0\.\d+\)"),
        (lambda x: 1 / (0 * x[:, 0]), {}, "is inf at the point"),
        (lambda x: x, {}, r"gave shape \(\d+, 2\) for \d+ points"),
        (lambda x: 1.0, {}, r"gave shape \(\)"),
        (lambda x: None, {}, "gave None; it must return a tensor"),
        (lambda x: x[:, 0] * 1j, {}, "complex"),
        (lambda x: 0 * x[:, 0], {}, "0 everywhere it was looked at, which were 5,000 points"),
        (lambda x: 0 * x[:, 0], {"calls": 200_000}, "which were 100,000 points"),
        ("f", {}, "the integrand is 'f'"),
        (bump, {"dims": 0}, "dims is 0"),
        (bump, {"dims": -1}, "dims is -1"),
        (bump, {"dims": 10**6}, "at most 21,201"),
        (bump, {"bounds": [(0, 1)]}, "1 bounds for 2"),
        (bump, {"bounds": [(0, 1), (1, 0)]}, "dimension 1 are 1 and 0; the lower one"),
        (bump, {"bounds": [(0, math.inf), (0, 1)]}, "dimension 0 are 0 and inf; they must be fin"),
        (bump, {"bounds": "unit"}, "a pair"),
        (bump, {"calls": 6666}, "6,666 calls are too few to train a flow on; give at least 6,667"),
        (bump, {"calls": 1e6}, "calls is 1000000.0"),
        (bump, {"loss": "mse"}, "choose one of kl, chi2, variance"),
        (bump, {"defensive": 1.0}, "defensive is 1.0"),
        (bump, {"relative_error": 0.0}, "relative_error is 0.0"),
        (bump, {"replay": -1}, "replay is -1"),
        (bump, {"learning_rate": 0.0}, "learning_rate is 0.0"),
        (bump, {"model": glowkit.CubeConfig(3)}, r"needs one of the unit cube, \(2,\)"),
    ],
)
def test_what_is_refused(f: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(glowkit.GlowkitError, match=words):
        found(f, **{"dims": 2, **options})


def test_a_function_that_is_not_0_in_training_alone() -> None:
    seen = 0

    def f(x: Tensor) -> Tensor:
        nonlocal seen
        seen += len(x)
        return torch.ones(len(x)) if seen <= 5000 else torch.zeros(len(x))

    with pytest.raises(glowkit.GlowkitError, match="0 at all 1,664 points of the final pass"):
        found(f, 2)


def test_models_that_are_refused() -> None:
    torch.manual_seed(0)
    elsewhere = glowkit.build(glowkit.PointsConfig(2, steps=1, width=4, normalization="diagonal"))
    with pytest.raises(glowkit.GlowkitError, match="outside of the unit cube"):
        found(bump, 2, model=elsewhere)
    broken = glowkit.build(glowkit.CubeConfig(2, **SMALL))
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    with pytest.raises(glowkit.GlowkitError, match="smaller learning_rate"):
        found(bump, 2, model=broken)


def test_a_seed_is_no_generator() -> None:
    with pytest.raises(glowkit.GlowkitError, match="generator is 3"):
        integrate(bump, 2, generator=3)  # type: ignore[arg-type]


def test_a_function_may_work_in_place() -> None:
    def f(x: Tensor) -> Tensor:
        return x.sub_(0.4).square_().sum(1).div_(-0.05).exp_()

    assert found(f, 2).value == pytest.approx(found(bump, 2).value)
