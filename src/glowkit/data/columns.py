"""Which columns of numbers a density can take, and what is to be said of the others."""

from collections.abc import Iterable, Sequence

import numpy as np

from glowkit.system.errors import GlowkitError

MANY_ALIKE = 0.05
"""From this share of a column's rows on that have one value, a density has a spike to chase."""
FINEST = 1e-3
"""Steps of float32 around a column's largest value, in its deviations: coarser is refused."""
MOST = 1e30
"""Values beyond it are refused, as are deviations below its inverse: float32 ends not far off."""
MOST_NAMED = 8


def column_faults(
    train: np.ndarray, names: Sequence[str], every: Sequence[np.ndarray] = ()
) -> dict[str, list[str]]:
    """What keeps columns of (N, columns) float64 from being used in float32, and their names.

    every: all rows, in parts, where those to train on are not all; their size counts too.
    """
    largest = np.abs(train).max(0)
    greatest = np.max([np.abs(rows).max(0) for rows in every or [train]], axis=0)
    huge = greatest > MOST
    with np.errstate(over="ignore", invalid="ignore"):  # of those that are huge
        deviations = train.std(0)
    steps = largest * np.finfo(np.float32).eps
    constant = train.max(0) == train.min(0)
    usable = ~constant & ~huge
    coarse = usable & (steps > FINEST * deviations)
    words = {
        "one value in every training row": constant & ~huge,
        "too little variation around a large value for float32, subtract a constant": coarse,
        "too little variation for float32, below 1e-30, multiply by a constant": usable
        & ~coarse
        & (deviations < 1 / MOST),
        "values beyond 1e30": huge,
    }
    found = {
        word: [name for name, hit in zip(names, hits, strict=True) if hit]
        for word, hits in words.items()
    }
    return {word: hit for word, hit in found.items() if hit}


def refuse(title: str, faults: dict[str, list[str]]) -> None:
    if faults:
        said = "; ".join(f"{listed(names)} ({word})" for word, names in faults.items())
        raise GlowkitError(
            f"{title} has columns that a density of numbers cannot take: {said}; remove or fill"
            " them, and train on the rest"
        )


def notes_on(train: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
    """A sentence about columns with many equal values, whose density has no finite maximum."""
    alike = []
    for name, values in zip(names, train.T, strict=True):
        share = np.unique(values, return_counts=True)[1].max() / len(values)
        if share > MANY_ALIKE:
            alike.append(f"{name} ({share:.0%})")
    if not alike:
        return ()
    return (
        f"columns {listed(alike)} have that share of rows at one value, where a density of"
        " continuous values can rise without bound, so that figures in nats mean little: add noise"
        " of the size of their steps, or give them as --context",
    )


def listed(names: Iterable[str]) -> str:
    every = [str(name)[:60] for name in names]
    more = f" and {len(every) - MOST_NAMED} more" if len(every) > MOST_NAMED else ""
    return ", ".join(every[:MOST_NAMED]) + more


def is_number(text: str) -> bool:
    """Whether a word is one: a first line of such names no columns."""
    try:
        float(text)
    except ValueError:
        return False
    return True
