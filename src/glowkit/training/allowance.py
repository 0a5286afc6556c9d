"""How long a run may do other things than training steps: start, evaluate, draw samples.

A budget in minutes allows a fifth of itself or `LEAST_SECONDS`, whichever is more. Initialisation
has a fifth of that, the evaluations on the validation split three tenths, and the evaluation on the
test split, whose figure is the run's, what is left when it comes. Budgets in epochs, and
`whole_evaluations`, allow any time.
"""

import math
from collections.abc import Mapping
from typing import Any

from glowkit.training.config import TrainConfig

PART = 1 / 5
LEAST_SECONDS = 15.0
FEWEST = 8
"""Evaluations that a run has room for however many examples one could take."""


def allowance(config: TrainConfig) -> float:
    """Seconds for all that is no training step, infinite where nothing limits them.

    >>> allowance(TrainConfig(minutes=0.5)), allowance(TrainConfig(minutes=10))
    (15.0, 120.0)
    """
    if config.minutes is None or config.whole_evaluations:
        return math.inf
    return max(60 * config.minutes * PART, LEAST_SECONDS)


def for_initialization(config: TrainConfig) -> float:
    """Seconds of the allowance for data-dependent layers to see data."""
    return allowance(config) / 5


def for_validation(config: TrainConfig) -> float:
    """Seconds of the allowance for all evaluations on the validation split together."""
    return allowance(config) * 3 / 10


def of_first_evaluation(config: TrainConfig, elapsed: float, interval: float) -> float:
    """Seconds that the first evaluation on the validation split may take, and with it each one.

    elapsed: seconds of the budget used. interval: seconds between evaluations that are asked for.
    """
    if math.isinf(allowance(config)):
        return math.inf
    assert config.minutes is not None
    left = max(0.0, 60 * config.minutes - elapsed)
    return for_validation(config) / min(1 + math.ceil(left / interval), FEWEST)


def between_evaluations(config: TrainConfig, seconds: float) -> float:
    """The least seconds from one evaluation to the next, when one takes so many.

    So that all of them fit, the last, which comes after the budget, included.
    """
    if math.isinf(allowance(config)):
        return 0.0
    assert config.minutes is not None
    others = for_validation(config) - seconds
    return 60 * config.minutes * seconds / others if others > 0 else math.inf


def spread(size: int, count: int) -> list[int]:
    """Numbers of `count` of `size` examples, evenly spread; fewer are the beginning of more.

    Steps of about the golden ratio leave gaps of three lengths at most (the three-gap theorem),
    alike where the quotients of Euclid's algorithm are small, and are in step with no order that
    the examples may have, such as classes in turn.

    >>> spread(10, 4), sorted(spread(10, 10)) == list(range(10))
    ([0, 7, 4, 1], True)
    """
    golden = round(size * (math.sqrt(5) - 1) / 2)
    near = range(max(1, golden - 50), min(size, golden + 50) + 1)
    coprime = [stride for stride in near if math.gcd(stride, size) == 1]
    stride = min(coprime, key=lambda one: (_largest_quotient(one, size), abs(one - golden)))
    return [number * stride % size for number in range(min(count, size))]


def _largest_quotient(a: int, b: int) -> int:
    largest = 0
    while a:
        largest = max(largest, b // a)
        a, b = b % a, a
    return largest


def number_of(figures: Mapping[str, Any], things: str) -> str:
    """How many examples figures are of, and of how many, where those are not all.

    >>> number_of({"images": 2048, "images_in_split": 10000}, "images")
    '2,048 of 10,000'
    """
    taken = figures[things]
    whole = figures.get(f"{things}_in_split", taken)
    return f"{taken:,} of {whole:,}" if taken < whole else str(taken)


def some_again(figures: Mapping[str, Any]) -> str:
    """The words for how many of the images were decoded again, where that is not all."""
    again = figures.get("round_trip_images", figures["images"])
    return f" of {again:,} images" if again < figures["images"] else ""
