"""Interleaved rounds: subjects take turns, so that a slow moment of the machine slows them all."""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles
from typing import NamedTuple

Times = dict[str, list[float]]
"""Seconds of each subject in each round."""


def take_turns(
    subjects: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Run every subject once a round, in an order that rotates by one; the first round is warm-up.

    Rotation, since what runs after a subject finds the caches as that left them.
    """
    names = list(subjects)
    times: Times = {name: [] for name in names}
    gc.collect()
    gc.disable()  # a collection belongs to no subject
    try:
        for turn in range(-1, rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                start = clock()
                subjects[name]()
                elapsed = clock() - start
                if turn >= 0:
                    times[name].append(elapsed)
            gc.collect()
    finally:
        gc.enable()
    return times


class Ratio(NamedTuple):
    """Median of the ratios of single rounds, and their quartiles."""

    median: float
    low: float
    high: float


def ratio(times: Sequence[float], others: Sequence[float]) -> Ratio:
    """How many times as long as others; each round's times are compared with each other only."""
    ratios = [a / b for a, b in zip(times, others, strict=True)]
    if len(ratios) == 1:
        return Ratio(ratios[0], ratios[0], ratios[0])
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return Ratio(median(ratios), low, high)


def fastest(times: Mapping[str, Sequence[float]], others: Sequence[str], name: str) -> str:
    """Which of the others is fastest: the one that `name` takes longest in ratio to."""
    return max(others, key=lambda other: ratio(times[name], times[other]).median)
