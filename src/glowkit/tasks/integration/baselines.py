"""What the same number of calls gives without a flow: flat sampling, and vegas."""

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import torch

from glowkit.core import GlowkitError, shown
from glowkit.tasks.integration.estimate import Estimate, of_batch
from glowkit.tasks.integration.integrand import Integrand
from glowkit.tasks.integration.proposal import independent

ITERATIONS = 10  # of vegas, each of adapting and of estimating
ADAPTING = 0.75  # of the calls, as a flow is trained on

NO_VEGAS = "vegas is not installed, and is compared with alone: pip install 'glowkit[integrate]'"

Baseline = Callable[[Integrand, int, torch.Generator | None], Estimate]
"""From an integrand and a number of calls to an estimate."""


def flat(integrand: Integrand, calls: int, generator: torch.Generator | None = None) -> Estimate:
    """The mean of f V over independent uniform points of a box of volume V."""
    points = independent(integrand.dims, generator)
    volume = math.exp(integrand.log_volume)
    parts = []
    for start in range(0, calls, 100_000):
        x = integrand.low + (integrand.high - integrand.low) * points(min(100_000, calls - start))
        parts.append(volume * integrand(torch.minimum(x, integrand.high)))
    return of_batch(torch.cat(parts))


def vegas(integrand: Integrand, calls: int, generator: torch.Generator | None = None) -> Estimate:
    """vegas+, adaptive importance and stratified sampling on a grid, from the package vegas.

    10 iterations with three quarters of the calls adapt the grid, and 10 with the others estimate.
    Its effective share is not known. Source: Lepage 2021.

    Raises:
        GlowkitError: where vegas is not installed.
    """
    try:
        import gvar
        import vegas as package
    except ImportError as error:
        raise GlowkitError(NO_VEGAS) from error
    used = 0

    def function(x: Any) -> Any:
        nonlocal used
        used += len(x)
        return integrand(torch.tensor(x, dtype=torch.float64)).numpy()

    gvar.ranseed(int(torch.randint(2**31, (), generator=generator)))
    pairs = torch.stack([integrand.low, integrand.high], 1).tolist()
    integrator = package.Integrator(pairs)
    batches = package.lbatchintegrand(function)
    adapting = int(ADAPTING * calls) // ITERATIONS
    integrator(batches, nitn=ITERATIONS, neval=adapting)
    rest = calls // ITERATIONS - adapting
    found = integrator(batches, nitn=ITERATIONS, neval=rest, adapt=False)
    return Estimate(float(found.mean), float(found.sdev), math.nan, used)


BASELINES: dict[str, Baseline] = {"flat": flat, "vegas": vegas}


def check_baselines(names: str) -> list[str]:
    """The baselines that a list with commas names.

    Raises:
        GlowkitError: for others, and for vegas where that is not installed: before the integral,
            which takes long, and not after it.
    """
    chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        if name not in BASELINES:
            raise GlowkitError(
                f"there is nothing {shown(name)} to compare with; choose of {', '.join(BASELINES)}"
            )
    if "vegas" in chosen and importlib.util.find_spec("vegas") is None:
        raise GlowkitError(NO_VEGAS)
    return chosen
