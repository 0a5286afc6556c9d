"""Neural importance sampling: an integral from points of a flow that learns the integrand."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from glowkit.core import Density, GlowkitError, frozen
from glowkit.core.checking import check_count, check_generator
from glowkit.models.cube import CubeConfig
from glowkit.tasks.integration.estimate import (
    SCRAMBLINGS,
    Estimate,
    Sizes,
    combined,
    consistency,
    of_batch,
    of_passes,
    sizes,
)
from glowkit.tasks.integration.integrand import Bounds, Function, Integrand
from glowkit.tasks.integration.losses import check_loss, loss_at
from glowkit.tasks.integration.proposal import (
    Draws,
    Mixture,
    flow_on,
    independent,
    scrambled,
    unweighted,
)

TRAINING_SHARE = 0.75  # of the calls; the others are the final pass
BATCHES = 300  # of a training, and more of one whose batches would be above the largest size
SMALLEST_BATCH, LARGEST_BATCH = 500, 1000  # with 2000, camel:4 ended at 0.90 effective for 0.93
LEAST_BATCHES = 10
AT_ONCE = 2**14  # points of the final pass, whose splines take K numbers a coordinate
EXPLORING_FROM = 8  # dimensions
EXPLORING_SHARE = 0.1  # of training, drawn uniformly: a peak that no point met is never learned
CLIPPED_AT = 10.0  # the norm of gradients
KEPT = 5  # batches that are learned from again, where that is asked for


@dataclass(frozen=True)
class Progress:
    """Where a training is: its step of how many, calls so far, and the estimate of this batch."""

    step: int
    steps: int
    calls: int
    batch: Estimate
    proposal: Density


@dataclass(frozen=True)
class Integral:
    """An integral, how good it is, and the flow that it is from.

    value, error: of the final pass, and its standard error, from the spread of 16 independently
    scrambled ones. calls: of the integrand, all together. sizes: how unequal the weights of the
    final pass are. training: the estimate from the points that were trained on, independent of the
    final one but for the flow. chi2: their consistency, about 1. batches: theirs, one by one.
    proposal: the flow, a density on the box: sample, log_prob, and on the unit cube glowkit.save.
    """

    value: float
    error: float
    calls: int
    sizes: Sizes
    training: Estimate
    chi2: float
    batches: list[Estimate] = field(repr=False)
    proposal: Density = field(repr=False)
    mixture: Mixture = field(repr=False)
    integrand: Integrand = field(repr=False)

    @property
    def relative_error(self) -> float:
        """The error over the size of the value."""
        return self.error / abs(self.value) if self.value else math.inf

    @property
    def effective(self) -> float:
        """The effective sample size over the number of points of the final pass."""
        return self.sizes.effective

    @property
    def unweighting(self) -> float:
        """The share of points that `unweighted` keeps, about."""
        return self.sizes.unweighting

    def unweighted(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """n points from |f|, (n, D), and their weights, (n,), nearly all 1: accept or reject.

        A point is kept with probability |w| / w*, w* the 99.9 % quantile of the final pass; one
        beyond w* has the weight |w| / w*. Where f is negative, so is the weight. Cost: n divided by
        `unweighting` calls of the integrand.

        Raises:
            GlowkitError: where the integrand is 0 at all points drawn.
        """
        return unweighted(self.integrand, self.mixture, self.sizes, n, generator)


def integrate(
    f: Function,
    dims: int,
    bounds: Bounds | None = None,
    calls: int = 1_000_000,
    relative_error: float | None = None,
    loss: str = "kl",
    defensive: float = 0.02,
    replay: int = 0,
    learning_rate: float = 2e-3,
    model: Density | CubeConfig | None = None,
    generator: torch.Generator | None = None,
    callback: Callable[[Progress], None] | None = None,
) -> Integral:
    """Integrate a function over a box by neural importance sampling.

    I = ∫ f(x) dx = E_q[f(x) / q(x)]: a flow q on the box is trained on batches of points that it
    drew itself, weighted by w = f / q_ε, q_ε = (1 − ε) q + ε / V; three quarters of the calls are
    for that. The rest are a final pass of the frozen flow, 16 independently scrambled Sobol
    sequences, from which value and error are. Both are unbiased; the error knows nothing of a peak
    that no point met.

    Args:
        f: from points (N, D), float64, to values (N,): a tensor, or what becomes one.
        dims: D, at least 1.
        bounds: a pair (low, high) for each dimension; the unit cube without.
        calls: of f at most, which are points, not batches.
        relative_error: stop as soon as so small an error can be expected.
        loss: "kl"; "chi2", which becomes the χ² divergence for the last third; or "variance".
        defensive: ε, the share of points that are drawn uniformly.
        replay: further steps a batch, of the last 5 batches: they cost no calls, but time.
        learning_rate: of Adam at the start; it falls to 0 by a cosine.
        model: settings of the flow, or a density on the unit cube, or `proposal` of another result
            with the same bounds, which is trained further, itself, on the CPU and in float64; by
            default `CubeConfig(dims)`.
        generator: of all randomness.
        callback: called after each step of training.

    Signed functions: their size is learned, and f / q_ε averaged.

    Raises:
        GlowkitError: for a function that gives what is not finite or not one number a point, or is
            0 at the first 100,000 points; for bounds that are none, or not those of the model; for
            too few calls.

    Cost: about 50 µs a call of f on one core of a CPU, in 4 dimensions: it pays where f does not
    factorise, and is not much cheaper than that. Source: Müller et al. 2019; i-flow, Gao et al.
    2020; MadNIS, Heimel et al. 2023.

    >>> f = lambda x: 3 * x.square().sum(1)
    >>> generator = torch.Generator().manual_seed(0)
    >>> result = integrate(f, dims=2, calls=10_000, generator=generator)
    >>> abs(result.value - 2) < 5 * result.error < 0.05
    True
    """
    integrand = Integrand(f, dims, bounds)
    plan = _plan(check_count(calls, "calls"), relative_error, loss, defensive)
    check_count(replay, "replay", least=0)
    if not learning_rate > 0:
        raise GlowkitError(f"learning_rate is {learning_rate}; it must be above 0")
    check_generator(generator)
    flow = flow_on(model, integrand, bounds, generator)
    mixture = Mixture(flow, integrand.low, integrand.high, defensive)
    training = _Training(integrand, mixture, plan, loss, replay, learning_rate, generator)
    batches: list[Estimate] = []
    for step in range(plan.steps):
        batches.append(training.step(step))
        if callback is not None:
            callback(Progress(step + 1, plan.steps, integrand.calls, batches[-1], flow))
        if plan.is_enough(batches):
            break
    if not integrand.seen:
        integrand.refuse_nothing()
    flow.eval()
    values, weights = _final(integrand, mixture, plan.final(batches, integrand.calls), generator)
    if not bool(weights.any()):
        raise GlowkitError(
            f"the integrand is 0 at all {len(weights):,} points of the final pass, though not in"
            " training; give more calls"
        )
    found = of_passes(values, weights)
    return Integral(
        found.value,
        found.error,
        integrand.calls,
        sizes(weights),
        combined(batches),
        consistency(batches),
        batches,
        flow,
        mixture,
        integrand,
    )


@dataclass(frozen=True)
class _Plan:
    """How calls are spent: steps of training of so many points each, and the final pass."""

    calls: int
    batch: int
    steps: int
    relative_error: float | None

    def is_enough(self, batches: list[Estimate]) -> bool:
        """Whether a final pass as large, beside training, as was planned would reach the error."""
        if self.relative_error is None or len(batches) < LEAST_BATCHES:
            return False
        used = self.batch * len(batches)
        return self._needed(batches) <= used * (1 - TRAINING_SHARE) / TRAINING_SHARE

    def final(self, batches: list[Estimate], used: int) -> int:
        """Points of the final pass."""
        left = self.calls - used
        return left if self.relative_error is None else min(left, self._needed(batches))

    def _needed(self, batches: list[Estimate]) -> int:
        """Calls of independent points for the error, by the last batches; even ones need fewer."""
        assert self.relative_error is not None
        last = batches[-LEAST_BATCHES:]
        share = sum(batch.effective for batch in last) / len(last)
        needed = (1 / max(share, 1e-9) - 1) / self.relative_error**2
        return max(self.batch, math.ceil(min(needed, 2 * self.calls)))


def _plan(calls: int, relative_error: float | None, loss: str, defensive: float) -> _Plan:
    check_loss(loss)
    if not 0 <= defensive < 1:
        raise GlowkitError(f"defensive is {defensive}; it must be from 0 to below 1")
    if relative_error is not None and not relative_error > 0:
        raise GlowkitError(f"relative_error is {relative_error}; it must be above 0")
    least = math.ceil(LEAST_BATCHES * SMALLEST_BATCH / TRAINING_SHARE)
    if calls < least:
        raise GlowkitError(
            f"{calls:,} calls are too few to train a flow on; give at least {least:,}"
        )
    for_training = int(TRAINING_SHARE * calls)
    batch = min(max(for_training // BATCHES, SMALLEST_BATCH), LARGEST_BATCH)
    return _Plan(calls, batch, for_training // batch, relative_error)


class _Training:
    """Steps on points that the flow draws, and on those of the last batches."""

    def __init__(
        self,
        integrand: Integrand,
        mixture: Mixture,
        plan: _Plan,
        loss: str,
        replay: int,
        learning_rate: float,
        generator: torch.Generator | None,
    ) -> None:
        self.integrand, self.mixture, self.plan = integrand, mixture, plan
        self.loss, self.replay = loss, replay
        self.points = independent(integrand.dims, generator)
        self.parameters = list(mixture.flow.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, learning_rate)
        self.learning_rate = learning_rate
        self.last: deque[tuple[Draws, Tensor]] = deque(maxlen=KEPT)
        explores = integrand.dims >= EXPLORING_FROM
        self.exploring = round(EXPLORING_SHARE * plan.steps) if explores else 0

    def step(self, number: int) -> Estimate:
        """Draw a batch, learn from it, and from earlier ones; the estimate from it."""
        for group in self.optimizer.param_groups:
            group["lr"] = (
                self.learning_rate * (1 + math.cos(math.pi * number / self.plan.steps)) / 2
            )
        draws = self._draw(number)
        values = self.integrand(draws.x)
        self._learn(number, draws, values)
        self.last.append((draws, values))
        for again in range(min(self.replay, len(self.last) - 1)):
            self._learn(number, *self.last[-2 - again])
        return of_batch(values * (-draws.log_mixture).exp())

    def _draw(self, number: int) -> Draws:
        if number >= self.exploring:
            return self.mixture.draw(self.plan.batch, self.points, self.points)
        box = self.mixture
        x = box.low + (box.high - box.low) * self.points(self.plan.batch)
        even = torch.full((len(x),), box.log_uniform, dtype=torch.float64)
        return Draws(torch.minimum(x, box.high), even, even)

    def _learn(self, number: int, draws: Draws, values: Tensor) -> None:
        if not bool(values.any()):
            return
        log_flow = self.mixture.flow.log_prob(draws.x)
        share = self.mixture.spread(len(values)) / len(values)
        log_ratio = draws.log_mixture - self.mixture.log_density(log_flow, share)
        weights = values * (-draws.log_mixture).exp()
        loss = loss_at(self.loss, number / self.plan.steps)(weights, log_flow, log_ratio)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIPPED_AT)
        self.optimizer.step()


@torch.no_grad()
def _final(
    integrand: Integrand, mixture: Mixture, points: int, generator: torch.Generator | None
) -> tuple[list[float], Tensor]:
    """The estimates of independently scrambled passes, and all weights (N,)."""
    each = points // SCRAMBLINGS
    values, weights = [], []
    with frozen(mixture.flow):
        for _ in range(SCRAMBLINGS):
            base = scrambled(integrand.dims, generator)
            uniform = scrambled(integrand.dims, generator)
            own = []
            for start in range(0, each, AT_ONCE):
                draws = mixture.draw(min(AT_ONCE, each - start), base, uniform)
                own.append(integrand(draws.x) * (-draws.log_mixture).exp())
            values.append(torch.cat(own).mean().item())
            weights += own
    return values, torch.cat(weights)
