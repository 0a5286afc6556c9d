"""Searches for resonances: ANODE, CATHODE and CWoLa hunting, and what their cuts are worth."""

from glowkit.tasks.resonance.cathode import idealised
from glowkit.tasks.resonance.hunting import METHODS, Hunt, Scan, Scorer, hunt, hunt_in, scan
from glowkit.tasks.resonance.sideband import Regions, regions_of
from glowkit.tasks.resonance.significance import (
    Excess,
    SignificanceImprovement,
    significance_improvement,
)

__all__ = [
    "METHODS",
    "Excess",
    "Hunt",
    "Regions",
    "Scan",
    "Scorer",
    "SignificanceImprovement",
    "hunt",
    "hunt_in",
    "idealised",
    "regions_of",
    "scan",
    "significance_improvement",
]
