"""How hot a model can be sampled before its samples break."""

import time
from dataclasses import dataclass

import torch

from glowkit.core import Density
from glowkit.tasks.latent import classes_in_turn, sampled

MOST = 2.0  # no temperature above this is offered, whatever the model bears
STEP = 0.05
SHARE = 0.01  # of samples that may break
DRAWN = 300  # samples at each temperature that is tried
BATCH = 50
SECONDS = 20.0  # after which the search stops, of a model that draws slowly


@dataclass(frozen=True)
class Heat:
    """The highest temperature to offer, and how it is known, as a sentence."""

    most: float = MOST
    note: str = ""


@torch.no_grad()
def measured_heat(model: Density, seed: int, seconds: float = SECONDS) -> Heat:
    """The highest temperature, in steps of `STEP` up to `MOST`, at which 1 % of samples break.

    Each temperature is tried on the same noise, and the limit found by bisection, which takes it
    that more heat breaks more samples. Costs six times `DRAWN` samples, or `seconds` at most.
    """
    until = time.monotonic() + seconds

    def broken(temperature: float) -> int | None:
        """Of `DRAWN` samples; None where time ran out."""
        generator = torch.Generator(model.anchor.device).manual_seed(seed)
        lost = 0
        for _ in range(DRAWN // BATCH):
            if time.monotonic() > until:
                return None
            context = classes_in_turn(model, BATCH)
            lost += int(sampled(model, BATCH, temperature, context, generator)[1].sum())
        return lost

    allowed = int(SHARE * DRAWN)
    good, bad = 0, round(MOST / STEP) + 1
    lost_at_good = 0
    while bad - good > 1:
        # The top first, for most models bear it.
        step = bad - 1 if bad * STEP > MOST else (good + bad) // 2
        lost = broken(step * STEP)
        if lost is None:
            return _unfinished(good * STEP)
        if lost > allowed:
            bad = step
        else:
            good, lost_at_good = step, lost
    most = good * STEP
    if bad * STEP > MOST:
        said = f"At temperature {most:g}, {lost_at_good} of {DRAWN} samples could not be computed."
        return Heat(most, said)
    if not good:
        return Heat(
            STEP, f"More than 1 % of {DRAWN} samples overflow at every temperature: train longer."
        )
    return Heat(
        round(most, 2),
        f"Temperatures end at {most:.2f}: above, more than 1 % of {DRAWN} samples could not be"
        " computed (overflow).",
    )


def _unfinished(good: float) -> Heat:
    most = round(good, 2) or 1.0
    known = f"up to {good:.2f} at most 1 % of {DRAWN} samples break" if good else "none is tried"
    return Heat(most, f"This model draws too slowly to try all temperatures: {known}.")
