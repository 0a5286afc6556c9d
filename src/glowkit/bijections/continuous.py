"""Continuous flows: a map that follows a velocity field from data to noise, by fixed steps."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from glowkit.core import Bijection
from glowkit.nets.linearized import LinearizedNet, Product, traces, units_of

TIME_FEATURES = 5


class Divergence(Protocol):
    """A way to tr J, (N,), from the products v -> J v at x, (N, ...)."""

    def __call__(self, product: Product, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class ExactDivergence:
    """tr J by D products. Shapes: x (N, ...) of D numbers each, to (N,)."""

    def __call__(self, product: Product, x: Tensor) -> Tensor:
        return traces(product(units_of(x)))


def _no_divergence(product: Product, x: Tensor) -> Tensor:
    """Where points alone are wanted."""
    return x.new_zeros(x.shape[0])


class Integrate(Bijection):
    """Follow dx/dt = f(x, t, context) from t = 1, where data are, to t = 0, where noise is.

    forward: Runge and Kutta's fourth-order method in `steps` equal steps from 1 to 0, of x and of
    d ladj/dt = tr ∂f/∂x together. inverse: the same from 0 to 1. Shapes: (N, ...), context
    (N, features). Cost: 4 · steps evaluations of the net, each with what `divergence` takes.

    Both are the flow of the field up to O(steps⁻⁴): by so much the inverse fails to undo the map,
    and ladj is not the log-determinant of the map as it is computed. How much that is shows where
    the steps are doubled (`refined`). Fixed steps are repeatable and pure, where an adaptive
    solver's depend on its batch. Source: Chen et al. 2018; FFJORD, Grathwohl et al. 2019.

    Args:
        net: f, called with the features of time, and the context behind these, as its context.
        steps: from one end to the other.
        divergence: `ExactDivergence()`.

    >>> from glowkit.nets import velocity_mlp
    >>> flow = Integrate(velocity_mlp(2, 8, 2, TIME_FEATURES), 4, ExactDivergence())
    >>> x = torch.randn(3, 2)
    >>> torch.equal(flow(x)[0], x)  # a fresh field is zero
    True
    """

    not_rebuilt_in_training = "is only undone up to the error of its steps"

    def __init__(self, net: LinearizedNet, steps: int, divergence: Divergence) -> None:
        super().__init__()
        self.net = net
        self.steps = steps
        self.divergence = divergence
        # Of the net's context, what is not time is the outer context.
        given = net.context
        self.features = given.in_features - TIME_FEATURES if isinstance(given, nn.Linear) else 0

    @property
    def reads_context(self) -> bool:
        return self.features > 0

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward_by(self.divergence, x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.inverse_by(self.divergence, y, context)

    def forward_by(
        self, divergence: Divergence, x: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`forward` with another way to the divergence, such as an estimate of it."""
        return self._integrate(divergence, x, context, 1.0, 0.0)

    def inverse_by(
        self, divergence: Divergence, y: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`inverse` with another way to the divergence."""
        return self._integrate(divergence, y, context, 0.0, 1.0)

    def velocity(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """f(x, t, context) at a time t of each example, (N,): no integration."""
        return self.net(x, self._given(t, context))

    def path(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        """Where noise is at each step on its way to data, (steps + 1, N, ...), noise first."""
        h, places = 1 / self.steps, [noise]
        for step in range(self.steps):
            x, _ = self._step(_no_divergence, places[-1], context, step * h, h)
            places.append(x)
        return torch.stack(places)

    def _integrate(
        self, divergence: Divergence, x: Tensor, context: Tensor | None, start: float, end: float
    ) -> tuple[Tensor, Tensor]:
        h = (end - start) / self.steps
        ladj = x.new_zeros(x.shape[0])
        for step in range(self.steps):
            x, part = self._step(divergence, x, context, start + step * h, h)
            ladj = ladj + part
        return x, ladj

    def _step(
        self, divergence: Divergence, x: Tensor, context: Tensor | None, t: float, h: float
    ) -> tuple[Tensor, Tensor]:
        slope, rate = self._rates(divergence, x, context, t)
        slopes, rates = slope, rate
        for part, weight in ((0.5, 2), (0.5, 2), (1.0, 1)):
            slope, rate = self._rates(divergence, x + part * h * slope, context, t + part * h)
            slopes, rates = slopes + weight * slope, rates + weight * rate
        return x + h / 6 * slopes, h / 6 * rates

    def _rates(
        self, divergence: Divergence, x: Tensor, context: Tensor | None, t: float
    ) -> tuple[Tensor, Tensor]:
        time = torch.full((x.shape[0],), t, dtype=x.dtype, device=x.device)
        value, product = self.net.linearized(x, self._given(time, context))
        return value, divergence(product, x)

    def _given(self, t: Tensor, context: Tensor | None) -> Tensor:
        features = time_features(t)
        if not self.features:
            return features
        if context is None:
            raise ValueError("this field needs a context and got none")
        return torch.cat([features, context], dim=1)

    def extra_repr(self) -> str:
        return f"{self.steps} steps"


def time_features(t: Tensor) -> Tensor:
    """t, and the sine and cosine of πt and 2πt, (N,) to (N, 5).

    >>> time_features(torch.zeros(1)).tolist()
    [[0.0, 0.0, 1.0, 0.0, 1.0]]
    """
    waves = [wave(k * math.pi * t) for k in (1, 2) for wave in (torch.sin, torch.cos)]
    return torch.stack([t, *waves], dim=1)


def integrates(model: nn.Module) -> bool:
    """Whether a model's log p is off by the error of an `Integrate`'s steps."""
    return any(isinstance(module, Integrate) for module in model.modules())


@contextmanager
def refined(model: nn.Module, factor: int = 2) -> Iterator[bool]:
    """Within, every `Integrate` of a model takes so many times its steps; whether there is any."""
    found = [module for module in model.modules() if isinstance(module, Integrate)]
    for module in found:
        module.steps *= factor
    try:
        yield bool(found)
    finally:
        for module in found:
            module.steps //= factor
