"""Integrals by neural importance sampling."""

from glowkit.tasks.integration.baselines import BASELINES, check_baselines, flat, vegas
from glowkit.tasks.integration.estimate import FEW, Estimate, Sizes
from glowkit.tasks.integration.integrand import Bounds, Integrand
from glowkit.tasks.integration.integrate import Integral, Progress, integrate
from glowkit.tasks.integration.plane import Divergences, Plane

__all__ = [
    "BASELINES",
    "FEW",
    "Bounds",
    "Divergences",
    "Estimate",
    "Integral",
    "Integrand",
    "Plane",
    "Progress",
    "Sizes",
    "check_baselines",
    "flat",
    "integrate",
    "vegas",
]
