"""ANODE: the ratio of two densities, one learned in the window and one beside it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glowkit.tasks.fitting import Fitted, fit
from glowkit.tasks.resonance.sideband import FOLDS, Regions

STEPS = 100
"""Of training on the events in the window, a fold; it begins at the background's density."""

RATE = 1e-3


@dataclass(frozen=True)
class DensityRatio:
    """The score ln p̂(x | m) − ln p̂_b(x | m), p̂ learned in the window, on all but one fold.

    −∞ for events beyond the extremes of the side bands. Of the regions' own events, m is put at the
    window's middle: the density of the window is not learned elsewhere, and a score that is a
    function of x alone cannot make a bump in m by itself.
    """

    regions: Regions
    by_fold: Sequence[Fitted]

    def held_out(self, regions: Regions) -> Tensor:
        """Scores of the regions' own events, (N,), each by the density that did not see it."""
        middle = torch.full_like(regions.m, sum(regions.window) / 2)
        scores = -regions.log_background(regions.x, middle)
        for fold, fitted in enumerate(self.by_fold):
            own = regions.folds == fold
            scores[own] += self._log_prob(fitted, regions.x[own], middle[own])
        return scores

    def __call__(self, x: Tensor, m: Tensor) -> Tensor:
        """Scores of other events in the window, (N,): the mean over folds."""
        scores = torch.full_like(m, -torch.inf)
        kept = self.regions.within(x)
        each = [self._log_prob(fitted, x[kept], m[kept]) for fitted in self.by_fold]
        log_b = self.regions.log_background(x[kept], m[kept])
        scores[kept] = torch.stack(each).mean(0) - log_b
        return scores

    def _log_prob(self, fitted: Fitted, x: Tensor, m: Tensor) -> Tensor:
        z, ladj = self.regions.scale.features(x)
        return fitted.log_prob(z, self.regions.scale.context(m)).double() + ladj


def anode(regions: Regions, generator: torch.Generator) -> DensityRatio:
    """R(x, m) = p̂(x | m) / p̂_b(x | m), the first learned in the window, the second beside it.

    Source: Nachman and Shih 2020, section II. Departures: training in the window begins at the
    background's weights, which few events only have to amend, and is repeated for each fold.
    """
    z = regions.scale.features(regions.x)[0]
    c = regions.scale.context(regions.m)
    fitted = []
    for fold in range(FOLDS):
        chosen = regions.inside & (regions.folds != fold)
        model = copy.deepcopy(regions.background.models[0]).requires_grad_(True)
        fitted.append(fit(model, z[chosen], c[chosen], STEPS, RATE, generator, best=1))
    return DensityRatio(regions, fitted)


@dataclass(frozen=True)
class Improbability:
    """The score −ln p̂_b(x | m): what is rare in the background. Rare is not resonant."""

    regions: Regions

    def held_out(self, regions: Regions) -> Tensor:
        """Scores of the regions' own events, (N,), at the window's middle."""
        return self(regions.x, torch.full_like(regions.m, sum(regions.window) / 2))

    def __call__(self, x: Tensor, m: Tensor) -> Tensor:
        """Scores of other events, (N,)."""
        log_b = self.regions.log_background(x, m)
        return torch.where(log_b.isfinite(), -log_b, -torch.inf)


def density(regions: Regions, generator: torch.Generator) -> Improbability:
    """−ln p̂_b(x | m) alone, the baseline that fails; in the features' own units."""
    return Improbability(regions)
