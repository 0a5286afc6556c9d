"""Points of the integrand's own density, by accepting and rejecting those of the flow."""

import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.core.density import check_count, check_generator
from glowkit.tasks.integration.estimate import Sizes
from glowkit.tasks.integration.integrand import Integrand
from glowkit.tasks.integration.proposal import Mixture, independent

AT_ONCE = 2**14
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
                f"no point was accepted of {rounds * AT_ONCE:,}; integrate with more calls first"
            )
    return torch.cat(kept)[:n], torch.cat(weights)[:n]


def _round(missing: int, sizes: Sizes) -> int:
    """Draws that give the missing points, about, and not too many at once."""
    return min(AT_ONCE, max(1000, round(1.1 * missing / max(sizes.unweighting, 1e-6))))
