"""Where points are drawn: mostly from the flow, a share uniformly; and of f, by rejection."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from glowkit.bijections import Box
from glowkit.core import Density, GlowkitError
from glowkit.core.checking import check_count, check_generator
from glowkit.core.initialization import seeded
from glowkit.densities import Then
from glowkit.models import build
from glowkit.models.cube import CubeConfig
from glowkit.tasks.integration.estimate import Sizes
from glowkit.tasks.integration.integrand import Bounds, Integrand

SOBOL_BITS = 30  # of torch's Sobol points, whose digits end there


Points = Callable[[int], Tensor]
"""Gives so many points of the unit cube, (n, D) float64."""


class Draws(NamedTuple):
    """Points x, (N, D), and their log density, (N,), under the flow and under the mixture."""

    x: Tensor
    log_flow: Tensor
    log_mixture: Tensor


class Mixture:
    """q_ε = (1 − ε) q + ε / V: the flow q, and the uniform density on a box of volume V.

    Of n points, exactly round(ε n) are uniform, and ε in the formula is that share: the estimate
    of an integral by the mean of f / q_ε is unbiased, as of points drawn from the mixture, and
    varies less. f / q_ε is at most f V / ε, whatever the flow. Source: Hesterberg 1995; Owen and
    Zhou 2000, the deterministic mixture.

    Args:
        flow: a density on the box, of one noise tensor (N, D).
        low, high: the corners of the box, (D,).
        share: ε.
    """

    def __init__(self, flow: Density, low: Tensor, high: Tensor, share: float) -> None:
        self.flow = flow
        self.low, self.high = low, high
        self.share = share
        self.log_uniform = -float((high - low).log().sum())

    @torch.no_grad()
    def draw(
        self, n: int, base: Callable[[int], Tensor], uniform: Callable[[int], Tensor]
    ) -> Draws:
        """n points, made of points of the unit cube: `base(k)` for the flow, `uniform(k)`."""
        spread = self.spread(n)
        noise = torch.special.ndtri(base(n - spread))
        x, log_flow = self.flow.decode([noise])
        if not bool(((x >= self.low) & (x <= self.high) | x.isnan()).all()):
            raise GlowkitError(
                "the model draws points outside of the unit cube; give one made with"
                " glowkit.CubeConfig, which cannot"
            )
        if spread:
            even = self.low + (self.high - self.low) * uniform(spread)
            x = torch.cat([x, torch.minimum(even, self.high)])
            log_flow = torch.cat([log_flow, self.flow.log_prob(x[n - spread :])])
        return Draws(x, log_flow, self.log_density(log_flow, spread / n))

    def spread(self, n: int) -> int:
        """How many of n points are uniform: at least one where any are to be, and not all."""
        return min(n - 1, max(1, round(self.share * n))) if self.share else 0

    def log_density(self, log_flow: Tensor, share: float) -> Tensor:
        """ln q_ε from ln q, with this ε."""
        if not share:
            return log_flow
        even = torch.full_like(log_flow, math.log(share) + self.log_uniform)
        return torch.logaddexp(math.log1p(-share) + log_flow, even)


def independent(dims: int, generator: torch.Generator | None) -> Points:
    """Points of the cube that are independent, (n, D) float64."""

    def points(n: int) -> Tensor:
        return torch.rand(n, dims, dtype=torch.float64, generator=generator)

    return points


def scrambled(dims: int, generator: torch.Generator | None) -> Points:
    """Points of one scrambled Sobol sequence, (n, D) float64: each uniform, together even.

    Each call goes on where the last one ended. Digits beyond those of the sequence are random.
    Source: Owen 1998; torch.quasirandom, whose scrambling is Matoušek's.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    engine, fine = SobolEngine(dims, scramble=True, seed=seed), independent(dims, generator)

    def points(n: int) -> Tensor:
        # `draw` takes the dtype of a view of its integers: its default is torch's own default.
        return engine.draw(n, dtype=torch.float64) + fine(n) * 2.0**-SOBOL_BITS

    return points


def flow_on(
    model: Density | CubeConfig | None,
    integrand: Integrand,
    bounds: Bounds | None,
    generator: torch.Generator | None,
) -> Density:
    """The flow on an integrand's box, in float64: a new one, or one that is given."""
    dims = integrand.dims
    if not isinstance(model, Density):
        # Weights too are drawn from the generator.
        with seeded(int(torch.randint(2**62, (), generator=generator))):
            model = build(model or CubeConfig(dims))
    if model.shape != (dims,) or [spec.shape for spec in model.noise_specs()] != [(dims,)]:
        raise GlowkitError(
            f"the model is of examples of shape {model.shape}; the integrand needs one of the unit"
            f" cube, ({dims},), such as glowkit.CubeConfig({dims})"
        )
    if isinstance(model, Then) and isinstance(model.bijection, Box):
        return _on_its_box(model, model.bijection, integrand)
    model = model.to("cpu", torch.float64).train()
    if bounds is None:
        return model
    box = Box(integrand.low.clone(), integrand.high.clone())
    return Then(box, model, (dims,)).double().train()


def _on_its_box(model: Then, box: Box, integrand: Integrand) -> Density:
    """A density that another integral has put on a box already: a second box would misplace it."""
    corners = (box.low, integrand.low), (box.high, integrand.high)
    if not all(torch.equal(own.cpu(), given.to(own.dtype)) for own, given in corners):
        raise GlowkitError("the model is a density on other bounds; give the same ones")
    model.to("cpu", torch.float64).train()
    box.low.copy_(integrand.low)  # which float32 may have rounded
    box.high.copy_(integrand.high)
    return model


ACCEPTING_AT_ONCE = 2**14
GIVEN_UP = 1000
"""Rounds without a single point, of so many each, after which there are none."""


@torch.no_grad()
def unweighted(
    integrand: Integrand,
    mixture: Mixture,
    sizes: Sizes,
    n: int,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """n points, (n, D), and their weights, (n,): see `Integral.unweighted`."""
    n = check_count(n, "the number of points")
    check_generator(generator)
    points = independent(integrand.dims, generator)
    kept: list[Tensor] = []
    weights: list[Tensor] = []
    found = rounds = 0
    while found < n:
        draws = mixture.draw(_round(n - found, sizes), points, points)
        w = integrand(draws.x) * (-draws.log_mixture).exp() / sizes.reference
        chance = torch.rand(len(w), dtype=torch.float64, generator=generator)
        accepted = chance < w.abs()
        # In the order of the draws, of which those that are uniform come last.
        order = torch.randperm(len(w), generator=generator)
        order = order[accepted[order]]
        kept.append(draws.x[order])
        weights.append(w[order].sign() * w[order].abs().clamp_min(1.0))
        found, rounds = found + len(order), rounds + 1
        if not found and rounds == GIVEN_UP:
            raise GlowkitError(
                f"no point was accepted of {rounds * ACCEPTING_AT_ONCE:,};"
                " integrate with more calls first"
            )
    return torch.cat(kept)[:n], torch.cat(weights)[:n]


def _round(missing: int, sizes: Sizes) -> int:
    """Draws that give the missing points, about, and not too many at once."""
    return min(ACCEPTING_AT_ONCE, max(1000, round(1.1 * missing / max(sizes.unweighting, 1e-6))))
