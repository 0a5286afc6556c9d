"""A search for a resonance: scores of events without labels, and what cuts on them leave."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.tasks.resonance.anode import anode, density
from glowkit.tasks.resonance.cathode import cathode, cwola
from glowkit.tasks.resonance.sideband import Regions, regions_of
from glowkit.tasks.resonance.significance import (
    EFFICIENCIES,
    Excess,
    Window,
    bump_hunt,
    deviations,
    global_p_value,
)


class Scorer(Protocol):
    """What a method learned: higher scores are more like signal."""

    def held_out(self, regions: Regions) -> Tensor:
        """Scores of the events it was trained on, (N,), by models that did not see them."""

    def __call__(self, x: Tensor, m: Tensor) -> Tensor:
        """Scores of other events, (N,), in the window and within the side bands' extremes."""


Method = Callable[[Regions, torch.Generator], Scorer]

METHODS: dict[str, Method] = {
    "cathode": cathode,
    "anode": anode,
    "cwola": cwola,
    "density": density,
}


@dataclass(frozen=True)
class Hunt:
    """What a search found.

    scores: of all events given, (N,), each by models that were not trained on it; −∞ of those that
    were dropped, NaN of none. p_values: local and one-sided, of the excess after each of
    `EFFICIENCIES`. excesses: the same in full, and first without a cut. models: what the method
    learned, which scores other events when called with x and m. regions: how the events were used.
    """

    scores: Tensor
    p_values: tuple[float, ...]
    excesses: tuple[Excess, ...]
    models: Scorer
    regions: Regions

    def score(self, x: Tensor, m: Tensor) -> Tensor:
        """Scores of other events in the window, (N,); −∞ beyond the side bands' extremes."""
        within = self.regions.within(x)
        scores = torch.full_like(m, -torch.inf)
        scores[within] = self.models(x[within], m[within])
        return scores


def hunt(
    x: Tensor,
    m: Tensor,
    window: Window,
    method: str | Method = "cathode",
    generator: torch.Generator | None = None,
    names: Sequence[str] | None = None,
) -> Hunt:
    """Search the window of m for events whose features are not those of the background beside it.

    No labels are taken: whatever the method, it compares the window with the side bands. Several
    methods share the density of the side bands where they share `regions_of`, see `hunt_in`.

    Args:
        x: features, (N, D); the resonant variable is not among them.
        m: the resonant variable, (N,).
        window: m₁ and m₂, inside of the data.
        method: one of `METHODS`, or a function of the regions and a generator.
        generator: of all randomness; torch's global one by default.
        names: of the features, for sentences.

    Raises:
        GlowkitError: for a method that does not exist, or events that no search can be made with.

    Cost: of cathode, anode and density, 8 passes of training over the side bands (40 seconds on one
    core for 110,000 events of 4 features); then 8 boosted classifiers, or 8 short trainings.
    """
    return hunt_in(regions_of(x, m, window, names, generator), method)


def hunt_in(regions: Regions, method: str | Method = "cathode") -> Hunt:
    """`hunt` in regions that are there already; their background serves all methods."""
    if isinstance(method, str):
        if method not in METHODS:
            raise GlowkitError(f"there is no method {method!r}; choose one of {', '.join(METHODS)}")
        method = METHODS[method]
    models = method(regions, regions.generator(2))
    own = models.held_out(regions)
    count = len(regions.rows) + sum(regions.dropped)
    scores = torch.full((count,), -torch.inf, dtype=torch.float64)
    scores[regions.rows] = own
    excesses = tuple(excesses_of(regions, own))
    return Hunt(scores, tuple(e.p_value for e in excesses[1:]), excesses, models, regions)


def excesses_of(regions: Regions, scores: Tensor) -> Iterator[Excess]:
    """The excess without a cut, and after each of `EFFICIENCIES`.

    A cut's threshold is the quantile of the scores of events beside the window, on both sides:
    where background is like in it, and there is no signal.
    """
    beside = scores[regions.beside].sort().values
    everything = torch.ones_like(regions.inside)
    yield bump_hunt(regions.m, everything, regions.window, 1.0, float("-inf"))
    for efficiency in EFFICIENCIES:
        threshold = float(beside[min(len(beside) - 1, int((1 - efficiency) * len(beside)))])
        yield bump_hunt(regions.m, scores > threshold, regions.window, efficiency, threshold)


@dataclass(frozen=True)
class Scan:
    """Searches of windows side by side over the range of m.

    windows, and excesses of each after `EFFICIENCIES`; global_p_value: of the smallest local one,
    for that many tries; global_significance: its Z.
    """

    windows: tuple[Window, ...]
    excesses: tuple[tuple[Excess, ...], ...]
    global_p_value: float
    global_significance: float


def scan_windows(m: Tensor, window: Window, least: int) -> list[Window]:
    """The window, and others of its width side by side with it that have enough events all around.

    >>> m = torch.linspace(0, 1, 1001)
    >>> [f"{low:.2f}:{high:.2f}" for low, high in scan_windows(m, (0.4, 0.6), least=150)]
    ['0.20:0.40', '0.40:0.60', '0.60:0.80']
    """
    low, high = window
    width = high - low
    first, last = float(m.min()), float(m.max())
    places = range(-int((low - first) / width), int((last - high) / width) + 1)
    found = []
    for place in places:
        if place == 0:
            found.append(window)
            continue
        a, b = low + place * width, high + place * width
        counts = (m <= a).sum(), ((m > a) & (m < b)).sum(), (m >= b).sum()
        if min(map(int, counts)) >= least:
            found.append((a, b))
    return found


def scan(
    x: Tensor,
    m: Tensor,
    windows: Iterable[Window],
    method: str | Method = "cathode",
    generator: torch.Generator | None = None,
    names: Sequence[str] | None = None,
) -> Scan:
    """A search of each window by itself, and how often chance finds as much in any of them.

    Cost: that of `hunt` for each window, since none may learn the background from its own events.
    """
    found = {
        window: hunt(x, m, window, method, generator, names).excesses[1:] for window in windows
    }
    lowest = global_p_value([excess.p_value for each in found.values() for excess in each])
    return Scan(tuple(found), tuple(found.values()), lowest, deviations(lowest))
