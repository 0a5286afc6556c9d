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
USUAL = 1.0  # offered where none is known: at it the model draws what it was trained for
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
    that more heat breaks more samples. Costs six times `DRAWN` samples, or `seconds` and what one
    batch takes: a temperature that broke too many in less counts as one that is too high.
    """
    until = time.monotonic() + seconds

    def broken(temperature: float) -> int | None:
        """Of `DRAWN` samples, or of fewer if they are too many; None where time ran out."""
        generator = torch.Generator(model.anchor.device).manual_seed(seed)
        lost = 0
        for _ in range(DRAWN // BATCH):
            if lost > allowed:
                break
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
            return _unfinished(good * STEP, bad * STEP)
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


def _unfinished(good: float, bad: float) -> Heat:
    """Where time ran out between a temperature that is known to do and one that is not to."""
    most = round(good or min(USUAL, max(STEP, bad - STEP)), 2)
    tried = [f"up to {good:.2f} at most 1 % of {DRAWN} samples break"] * bool(good)
    tried += [f"from {bad:.2f} on more than 1 % of samples break"] * (bad <= MOST)
    known = ", and ".join(tried) or "none is tried"
    return Heat(most, f"This model draws too slowly to try all temperatures: {known}.")
