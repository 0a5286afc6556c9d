"""Synthetic events of a resonance search, whose best possible score is known."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MASS = "m"
FEATURES = ("x1", "x2", "x3", "x4")
WINDOW = (0.45, 0.55)
"""Where the signal is, to 2.5 deviations."""

BACKGROUND_EVENTS, SIGNAL_EVENTS = 120_000, 250
SCALE = 0.5  # of the background's mass
PEAK, WIDTH = 0.5, 0.02  # of the signal's
CENTRE = (1.8, 2.2, 2.0, 1.0)
SPREAD = 0.3
POWER = 1.2
SLOPE = 0.3


@dataclass(frozen=True)
class Events:
    """Events of a search: features x (N, D), resonant variable m (N,), float64, and their names.

    truth: which are signal, (N,) bool, where it is known; for assessment alone. mass: name of m.
    names: of the features.
    """

    x: Tensor
    m: Tensor
    names: tuple[str, ...]
    mass: str
    truth: Tensor | None = None

    def __len__(self) -> int:
        return len(self.m)


def synthetic(
    generator: torch.Generator,
    background: int = BACKGROUND_EVENTS,
    signal: int = SIGNAL_EVENTS,
    window: tuple[float, float] = (0.0, 1.0),
) -> Events:
    """Draw so many events of background and of signal, shuffled, all with m in the window.

    Background: m exponential of scale ½ on [0, 1]; x₁ ~ N(m, 1); x₂ = |N(0, 1)|^1.2 (1 + 0.3 m),
    with a hard edge at 0; x₃ ~ N(½ x₁, 1); x₄ ~ N(0, 1): correlated with m on purpose. Signal:
    m ~ N(0.5, 0.02²) and x ~ N((1.8, 2.2, 2.0, 1.0), 0.3² I). By default the window
    `WINDOW` holds some 10,100 events of background and 247 of signal.

    >>> events = synthetic(torch.Generator().manual_seed(0), background=90, signal=10)
    >>> events.x.shape, int(events.truth.sum())
    (torch.Size([100, 4]), 10)
    """
    parts = [draw_background(background, generator, window), draw_signal(signal, generator, window)]
    truth = torch.arange(background + signal) >= background
    order = torch.randperm(len(truth), generator=generator)
    x, m = (torch.cat(pieces)[order] for pieces in zip(*parts, strict=True))
    return Events(x, m, FEATURES, MASS, truth[order])


def draw_background(
    n: int, generator: torch.Generator, window: tuple[float, float] = (0.0, 1.0)
) -> tuple[Tensor, Tensor]:
    """n events of background with m in the window: x (n, 4) and m (n,), float64."""
    low, high = window
    u = torch.rand(n, dtype=torch.float64, generator=generator)
    m = low - SCALE * torch.log1p(u * math.expm1((low - high) / SCALE))
    x = _normal(n, generator)
    x[:, 0] += m
    x[:, 1] = x[:, 1].abs() ** POWER * (1 + SLOPE * m)
    x[:, 2] += 0.5 * x[:, 0]
    return x, m


def draw_signal(
    n: int, generator: torch.Generator, window: tuple[float, float] = (0.0, 1.0)
) -> tuple[Tensor, Tensor]:
    """n events of signal with m in the window: x (n, 4) and m (n,), float64."""
    # The inverse of the distribution function, so that a window takes no second try.
    low, high = (0.5 * math.erfc((PEAK - end) / WIDTH / math.sqrt(2)) for end in window)
    u = low + (high - low) * torch.rand(n, dtype=torch.float64, generator=generator)
    m = PEAK + WIDTH * torch.special.ndtri(u.clamp(1e-16, 1 - 1e-16))
    x = torch.tensor(CENTRE, dtype=torch.float64) + SPREAD * _normal(n, generator)
    return x, m


def log_background(x: Tensor, m: Tensor) -> Tensor:
    """ln p(x | m) of the background, (N,) nats; −∞ where x₂ is negative.

    ln p(x₂ | m) = ln 2 + ln φ(u^(1/1.2)) + (1/1.2 − 1) ln u − ln 1.2 − ln (1 + 0.3 m), with
    u = x₂ / (1 + 0.3 m).
    """
    u = x[:, 1] / (1 + SLOPE * m)
    positive = u > 0
    safe = torch.where(positive, u, 1.0)
    second = math.log(2) + _log_normal(safe ** (1 / POWER)) + (1 / POWER - 1) * safe.log()
    second = second - math.log(POWER) - torch.log1p(SLOPE * m)
    second = torch.where(positive, second, -torch.inf)
    first, third = _log_normal(x[:, 0] - m), _log_normal(x[:, 2] - 0.5 * x[:, 0])
    return first + second + third + _log_normal(x[:, 3])


def log_signal(x: Tensor) -> Tensor:
    """ln p(x) of the signal, (N,) nats."""
    return (_log_normal((x - x.new_tensor(CENTRE)) / SPREAD) - math.log(SPREAD)).sum(1)


def optimal_score(x: Tensor, m: Tensor) -> Tensor:
    """ln p_signal(x) − ln p_background(x | m), (N,) nats: no score of x tells them apart better.

    By the lemma of Neyman and Pearson.

    >>> events = synthetic(torch.Generator().manual_seed(0), 100, 100)
    >>> score = optimal_score(events.x, events.m)
    >>> bool(score[events.truth].mean() > score[~events.truth].mean())
    True
    """
    return log_signal(x) - log_background(x, m)


def _normal(n: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, len(FEATURES), dtype=torch.float64, generator=generator)


def _log_normal(z: Tensor) -> Tensor:
    return -0.5 * (z * z) - 0.5 * math.log(2 * math.pi)
