"""The events of a search in their regions, and the background's density learned beside the signal.

The signal region SR is the window of the resonant variable m; the side bands SB are the rest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from glowkit.core import Density, GlowkitError
from glowkit.core.checking import check_tensor
from glowkit.core.initialization import seeded
from glowkit.models import PointsConfig, build
from glowkit.tasks.fitting import BATCH, Fitted, fit
from glowkit.tasks.resonance.significance import Window

LEAST_EVENTS = 100
"""In the window, and in either side band."""

FOLDS, HALVES = 4, 2
"""No event is scored by what was trained on it: each belongs to a fold and to a half. What learns
the window's events leaves out a fold, and what learns the side bands a half. Were the side bands'
events scored by a flow that saw them, it would foretell their chance excesses, so that scores would
be high where they lack events by chance, and the window seem to have too many there."""

STEPS, WIDTH, BINS = 6, 48, 8
"""Of the flows: couplings, units of their conditioners' layers, and bins of their splines."""

PASSES, LEAST_STEPS = 8, 450
"""Over a half of the side bands in training; and steps, where there are few events."""

RATE = 2e-3


@dataclass(frozen=True)
class Regions:
    """The events of a search, and what each is used for; made by `regions_of`.

    x (N, D) and m (N,): all events that are used. rows (N,): where they were in what was given.
    inside (N,) bool: in the window. folds, halves (N,): of each event, which models score it,
    never trained on it. low, high (D,): the least and greatest of each feature in the side bands.
    dropped: events not within them, in the window and outside, which are not used. seed: of all
    randomness.
    """

    x: Tensor
    m: Tensor
    window: Window
    names: tuple[str, ...]
    rows: Tensor
    inside: Tensor
    folds: Tensor
    halves: Tensor
    low: Tensor
    high: Tensor
    dropped: tuple[int, int]
    seed: int

    @cached_property
    def beside(self) -> Tensor:
        """Which events are in the side bands within one width of the window, (N,) bool."""
        low, high = self.window
        width = high - low
        return ~self.inside & (self.m > low - width) & (self.m < high + width)

    def within(self, x: Tensor) -> Tensor:
        """Which events have all features strictly between the side bands' extremes, (N,) bool."""
        return ((x > self.low) & (x < self.high)).all(1)

    def generator(self, purpose: int) -> torch.Generator:
        """Randomness that is the same whatever else was drawn before."""
        return torch.Generator().manual_seed(self.seed + purpose)

    @cached_property
    def scale(self) -> "Scale":
        """How the flows see features and mass."""
        return Scale.of(self)

    @cached_property
    def background(self) -> tuple[Fitted, ...]:
        """p̂_b(x | m), a conditional flow of the side bands without a half, for each half.

        Trained when first asked for.
        """
        generator = self.generator(1)
        return tuple(self._without(half, generator) for half in range(HALVES))

    def _without(self, half: int, generator: torch.Generator) -> Fitted:
        chosen = ~self.inside & (self.halves != half)
        z, c = self.scale.features(self.x[chosen])[0], self.scale.context(self.m[chosen])
        steps = max(LEAST_STEPS, math.ceil(PASSES * len(z) / BATCH))
        flow = conditional_flow(z.shape[1], generator)
        return fit(flow, z, c, steps, RATE, generator, best=2)

    def log_background(self, x: Tensor, m: Tensor) -> Tensor:
        """ln of the mean p̂_b(x | m), in the features' own units, (N,) nats, of x within bounds.

        Between the side bands in m the flows interpolate. Costs a pass of each of their models.
        """
        z, ladj = self.scale.features(x)
        c = self.scale.context(m)
        each = torch.stack([flow.log_prob(z, c) for flow in self.background])
        return each.double().logsumexp(0) - math.log(HALVES) + ladj

    def held_out_log_background(self, m: Tensor) -> Tensor:
        """ln p̂_b(x | m) of the regions' own events, each by the flow without its half; m (N,)."""
        z, ladj = self.scale.features(self.x)
        c = self.scale.context(m)
        for half, flow in enumerate(self.background):
            own = self.halves == half
            ladj[own] += flow.log_prob(z[own], c[own]).double()
        return ladj

    def sample_background(
        self, count: int, half: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Events of background as the side bands foretell them in the window: x (K, D) and m (K,).

        m from a kernel density estimate of the window's, then x ~ p̂_b(x | m), without that half.
        """
        m = resample(self.m[self.inside], self.window, count, generator)
        z = self.background[half].sample(self.scale.context(m), generator)
        return self.scale.undo(z), m


def regions_of(
    x: Tensor,
    m: Tensor,
    window: Window,
    names: Sequence[str] | None = None,
    generator: torch.Generator | None = None,
) -> Regions:
    """Sort events into regions, and drop (and count) those beyond the side bands' extremes.

    The density is logistic in features scaled to the side bands' range, so that it is nothing
    beyond. The events that are the extremes are dropped with the others.

    Shapes: x (N, D), m (N,). names: of the features, for sentences.

    Raises:
        GlowkitError: for events that no search can be made with; the sentence says why.
    """
    check_tensor(x, "the features")
    check_tensor(m, "the resonant variable")
    names = tuple(names) if names is not None else tuple(f"{i}" for i in range(x.shape[-1]))
    _check_shapes(x, m, names)
    x, m = x.double(), m.double()
    _check_values(x, m, names)
    _check_window(m, window)
    inside = (m > window[0]) & (m < window[1])
    low, high = x[~inside].amin(0), x[~inside].amax(0)
    if constant := [names[i] for i in torch.nonzero(low >= high).flatten().tolist()]:
        raise GlowkitError(
            f"{_features(constant)} the same value in all of the side bands, and cannot be scaled:"
            " leave out what does not vary"
        )
    between = (x > low) & (x < high)
    _check_varied(x, between & ~inside[:, None], names)
    within = between.all(1)
    dropped = int((~within & inside).sum()), int((~within & ~inside).sum())
    rows = torch.nonzero(within).flatten()
    seed = int(torch.randint(2**31, (), generator=generator))
    parts = torch.randint(
        FOLDS * HALVES, (len(rows),), generator=torch.Generator().manual_seed(seed)
    )
    folds, halves = parts // HALVES, parts % HALVES
    found = Regions(
        x[rows], m[rows], window, names, rows, inside[rows], folds, halves, low, high, dropped, seed
    )
    _check_counts(found.m, window, f" after {sum(dropped)} were dropped" if sum(dropped) else "")
    _check_varied(x, (within & ~inside)[:, None], names)
    return found


def _check_shapes(x: Tensor, m: Tensor, names: tuple[str, ...]) -> None:
    if x.dim() != 2 or m.shape != x.shape[:1]:
        raise GlowkitError(
            f"a search takes features (N, D) and a resonant variable (N,), not {tuple(x.shape)} and"
            f" {tuple(m.shape)}"
        )
    if x.shape[1] < 1:
        raise GlowkitError("a search needs at least 1 feature beside the resonant variable")
    if len(names) != x.shape[1] or not (x.is_floating_point() and m.is_floating_point()):
        raise GlowkitError(
            f"{x.shape[1]} features of {x.dtype} have {len(names)} names and a resonant variable of"
            f" {m.dtype}; give a name for each, and floating-point numbers"
        )


def _check_values(x: Tensor, m: Tensor, names: tuple[str, ...]) -> None:
    if not m.isfinite().all():
        raise GlowkitError(
            f"the resonant variable is NaN or infinite in {int((~m.isfinite()).sum())} of {len(m)}"
            " events: remove them"
        )
    broken = (~x.isfinite()).sum(0)
    if wrong := [names[i] for i in torch.nonzero(broken).flatten().tolist()]:
        raise GlowkitError(
            f"{_features(wrong)} NaN or infinite values, in {int((~x.isfinite()).any(1).sum())} of"
            f" {len(x)} events: remove them, or fill them in"
        )


def _check_varied(x: Tensor, chosen: Tensor, names: tuple[str, ...]) -> None:
    """Refuse features that are constant among the chosen values, once the extremes are dropped."""
    low = x.masked_fill(~chosen, torch.inf).amin(0)
    high = x.masked_fill(~chosen, -torch.inf).amax(0)
    if few := [names[i] for i in torch.nonzero(low >= high).flatten().tolist()]:
        raise GlowkitError(
            f"{_features(few)} too few values in the side bands, at most one between the least and"
            f" the greatest: leave {'it' if len(few) == 1 else 'them'} out"
        )


def _features(names: Sequence[str]) -> str:
    return f"feature {names[0]} has" if len(names) == 1 else f"features {', '.join(names)} have"


def _check_window(m: Tensor, window: Window) -> None:
    low, high = window
    if not low < high:
        raise GlowkitError(
            f"the window {low:g}:{high:g} is empty; its first end must be below its second"
        )
    if low < float(m.min()) or high > float(m.max()):
        raise GlowkitError(
            f"the window {low:g}:{high:g} reaches beyond the data, whose resonant variable is from"
            f" {float(m.min()):g} to {float(m.max()):g}; move it inside"
        )
    _check_counts(m, window)


def _check_counts(m: Tensor, window: Window, when: str = "") -> None:
    low, high = window
    for where, number in (
        (f"below {low:g}", int((m <= low).sum())),
        (f"in the window {low:g}:{high:g}", int(((m > low) & (m < high)).sum())),
        (f"above {high:g}", int((m >= high).sum())),
    ):
        if number < LEAST_EVENTS:
            raise GlowkitError(
                f"there are {number} events {where}{when}, and a search needs at least"
                f" {LEAST_EVENTS}; move or widen the window, or give more events"
            )


@dataclass(frozen=True)
class Scale:
    """Features to the real line, and m to about unit size: what the flows see.

    z = (logit((x − low) / (high − low)) − shift) / spread, as published (Hallin et al. 2021,
    section III). A hard edge of a feature goes to infinity, and no density leaks over it.
    """

    low: Tensor
    high: Tensor
    shift: Tensor
    spread: Tensor
    mass_shift: float
    mass_spread: float

    @classmethod
    def of(cls, regions: Regions) -> "Scale":
        """Fitted to the side bands."""
        x, m = regions.x[~regions.inside], regions.m[~regions.inside]
        logits = torch.logit((x - regions.low) / (regions.high - regions.low))
        spread, shift = torch.std_mean(logits, 0)
        return cls(regions.low, regions.high, shift, spread, float(m.mean()), float(m.std()))

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z (N, D) float32, and ln |dz/dx|, (N,)."""
        unit = (x - self.low) / (self.high - self.low)
        z = (torch.logit(unit) - self.shift) / self.spread
        slope = unit * (1 - unit) * (self.high - self.low) * self.spread
        return z.float(), -slope.log().sum(1)

    def undo(self, z: Tensor) -> Tensor:
        """The x of a z."""
        unit = torch.sigmoid(z.double() * self.spread + self.shift)
        return self.low + (self.high - self.low) * unit

    def context(self, m: Tensor) -> Tensor:
        """m for a flow, (N, 1) float32."""
        return ((m - self.mass_shift) / self.mass_spread)[:, None].float()


def conditional_flow(dimensions: int, generator: torch.Generator) -> Density:
    """A spline flow of features given m, its start drawn from the generator.

    Of one feature, which has no other to be coupled to, the splines are shaped by m alone.
    """
    config = PointsConfig(
        dimensions=dimensions,
        steps=STEPS,
        width=WIDTH,
        structure="coupling" if dimensions > 1 else "autoregressive",
        coupling="spline",
        bins=BINS,
        context_features=1,
    )
    with seeded(int(torch.randint(2**31, (), generator=generator))):
        return build(config)


def resample(m: Tensor, window: Window, count: int, generator: torch.Generator) -> Tensor:
    """Draw from a Gaussian kernel density estimate of m, (N,), kept within the window: (count,).

    Scott's bandwidth; what leaves the window is reflected into it.

    >>> drawn = resample(torch.linspace(0.1, 0.9, 50), (0.0, 1.0), 1000, torch.Generator())
    >>> bool(((drawn >= 0) & (drawn <= 1)).all())
    True
    """
    low, high = window
    chosen = m[torch.randint(len(m), (count,), generator=generator)]
    noise = torch.randn(count, dtype=m.dtype, generator=generator)
    moved = (chosen + float(m.std()) * len(m) ** -0.2 * noise - low) % (2 * (high - low))
    return low + torch.minimum(moved, 2 * (high - low) - moved)
