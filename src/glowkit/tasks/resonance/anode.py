"""ANODE: the ratio of two densities, one learned in the window and one beside it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glowkit.tasks.fitting import Fitted, fit
from glowkit.tasks.resonance.sideband import FOLDS, HALVES, Regions

STEPS = 100
"""Of training on the events in the window, for each fold and half, from the background on."""

RATE = 1e-3


@dataclass(frozen=True)
class DensityRatio:
    """The score ln p̂(x | m) − ln p̂_b(x | m), p̂ learned in the window, for each [fold][half].

    Of the regions' own events m is put at the window's middle: the density of the window is not
    learned elsewhere, and a score that is a function of x alone cannot make a bump in m by itself.
    """

    regions: Regions
    fitted: Sequence[Sequence[Fitted]]

    def held_out(self, regions: Regions) -> Tensor:
        """Scores of the regions' own events, (N,), each by densities that did not see it."""
        middle = torch.full_like(regions.m, sum(regions.window) / 2)
        scores = -regions.held_out_log_background(middle)
        for fold, of_fold in enumerate(self.fitted):
            for half, one in enumerate(of_fold):
                own = (regions.folds == fold) & (regions.halves == half)
                scores[own] += self._log_prob(one, regions.x[own], middle[own])
        return scores

    def __call__(self, x: Tensor, m: Tensor) -> Tensor:
        """Scores of other events in the window, (N,): the mean over folds and halves."""
        each = [self._log_prob(one, x, m) for of_fold in self.fitted for one in of_fold]
        return torch.stack(each).mean(0) - self.regions.log_background(x, m)

    def _log_prob(self, fitted: Fitted, x: Tensor, m: Tensor) -> Tensor:
        z, ladj = self.regions.scale.features(x)
        return fitted.log_prob(z, self.regions.scale.context(m)).double() + ladj


def anode(regions: Regions, generator: torch.Generator) -> DensityRatio:
    """R(x, m) = p̂(x | m) / p̂_b(x | m), the first learned in the window, the second beside it.

    Source: Nachman and Shih 2020, section II. Departures: training in the window begins at the
    background's weights, which few events only have to amend, and is repeated for each fold and
    half.
    """
    z = regions.scale.features(regions.x)[0]
    c = regions.scale.context(regions.m)

    def fitted(fold: int, half: int) -> Fitted:
        chosen = regions.inside & (regions.folds != fold)
        model = copy.deepcopy(regions.background[half].models[0]).requires_grad_(True)
        return fit(model, z[chosen], c[chosen], STEPS, RATE, generator, best=1)

    return DensityRatio(regions, [[fitted(k, h) for h in range(HALVES)] for k in range(FOLDS)])


@dataclass(frozen=True)
class Improbability:
    """The score −ln p̂_b(x | m): what is rare in the background. Rare is not resonant."""

    regions: Regions

    def held_out(self, regions: Regions) -> Tensor:
        """Scores of the regions' own events, (N,), at the window's middle."""
        return -regions.held_out_log_background(torch.full_like(regions.m, sum(regions.window) / 2))

    def __call__(self, x: Tensor, m: Tensor) -> Tensor:
        """Scores of other events, (N,)."""
        return -self.regions.log_background(x, m)


def density(regions: Regions, generator: torch.Generator) -> Improbability:
    """−ln p̂_b(x | m) alone, the baseline that fails; in the features' own units."""
    return Improbability(regions)
