"""CATHODE: classifiers of the window's events against samples of the background's flow."""

import torch
from torch import Tensor

from glowkit.tasks.resonance.classifier import Classifiers, classify
from glowkit.tasks.resonance.sideband import HALVES, Regions

OVERSAMPLING = 4
"""Samples of background for each event in the window."""


def cathode(regions: Regions, generator: torch.Generator) -> Classifiers:
    """Data in the window against samples of p̂_b(x | m), the side bands' density interpolated.

    Source: Hallin et al. 2021, section III. Departures: boosted trees in place of a network, which
    features without use do not harm; k folds in place of halves of the window; the side bands in
    halves, which are in whole there.
    """
    size = template_size(regions)
    drawn = [regions.sample_background(size, half, generator)[0] for half in range(HALVES)]
    return classify(regions, drawn, generator)


def template_size(regions: Regions) -> int:
    """How many samples CATHODE draws."""
    return OVERSAMPLING * int(regions.inside.sum())


def idealised(regions: Regions, generator: torch.Generator, background: Tensor) -> Classifiers:
    """CATHODE with true events of background (K, D) for its samples: the best that it could do.

    Source: Hallin et al. 2021, section IV ("idealized anomaly detector").
    """
    return classify(regions, [background[regions.within(background)]] * HALVES, generator)


def cwola(regions: Regions, generator: torch.Generator) -> Classifiers:
    """Data in the window against data beside it, as many widths on either side: no flow at all.

    Either side has half of the weight, so that what changes linearly with m is the same on average.
    Features that change with m otherwise are learned in place of the signal. Source: Collins, Howe
    and Nachman 2018 (CWoLa hunting).
    """
    beside = regions.beside
    below = regions.m[beside] < regions.window[0]
    weights = torch.where(below, 1 / below.sum(), 1 / (~below).sum()).double()
    reference = regions.x[beside]
    return classify(regions, [reference] * HALVES, generator, regions.folds[beside], weights)
