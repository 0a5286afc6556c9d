"""What is integrated: a function of points in a box, each answer of which is checked."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from glowkit.core import GlowkitError, shown
from glowkit.core.checking import check_count

Function = Callable[[Tensor], Any]
"""From points (N, D), float64, to values (N,): a tensor, or what numpy makes one of."""

Bounds = Sequence[tuple[float, float]]

LOOKED_AT = 100_000
"""Points after which a function that was 0 at all of them is given up."""

MOST_DIMENSIONS = 21_201  # of torch's Sobol points


class Integrand:
    """A function over a box, which counts its calls.

    Raises:
        GlowkitError: for bounds that are none, and, when called, for values that are not finite or
            not one a point, and for a function that was 0 at the first 100,000 points.
    """

    def __init__(self, function: Function, dims: int, bounds: Bounds | None) -> None:
        if not callable(function):
            raise GlowkitError(
                f"the integrand is {shown(function)}; give a function from points (N, {dims}) to"
                " values (N,)"
            )
        self.function = function
        self.dims = check_count(dims, "dims")
        if self.dims > MOST_DIMENSIONS:
            raise GlowkitError(f"dims is {dims}; at most {MOST_DIMENSIONS:,} can be integrated")
        pairs = [(0.0, 1.0)] * self.dims if bounds is None else _pairs(bounds, self.dims)
        self.low, self.high = torch.tensor(pairs, dtype=torch.float64).unbind(1)
        self.calls = 0
        self._zeros = 0

    @property
    def log_volume(self) -> float:
        """Of the box, ln Π (b − a)."""
        return float((self.high - self.low).log().sum())

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """The values of points (N, D), (N,) float64."""
        if not bool(x.isfinite().all()):
            raise GlowkitError(
                "the flow broke down in training, so that its points are not numbers; give a"
                " smaller learning_rate"
            )
        # A copy: a function that works in place would move the points that are learned from.
        values = _tensor(self.function(x.clone()), len(x)).to(x)
        self.calls += len(x)
        wrong = (~values.isfinite()).nonzero()
        if len(wrong):
            first = int(wrong[0])
            point = ", ".join(f"{value:.6g}" for value in x[first].tolist()[:8])
            more = ", ..." if self.dims > 8 else ""
            raise GlowkitError(
                f"the integrand is {values[first].item()} at the point ({point}{more}); give it a"
                " finite value everywhere, or bounds that leave such points out"
            )
        if self._zeros == self.calls - len(x):
            self._zeros += int((values == 0).sum())
            if self._zeros == self.calls >= LOOKED_AT:
                self.refuse_nothing()
        return values

    @property
    def seen(self) -> bool:
        """Whether it was anything but 0 anywhere yet."""
        return self._zeros < self.calls

    def refuse_nothing(self) -> None:
        """Raise, for one that is 0."""
        raise GlowkitError(
            f"the integrand is 0 everywhere it was looked at, which were {self.calls:,} points;"
            " narrow the bounds to where it is not"
        )


def _tensor(values: Any, count: int) -> Tensor:
    try:
        tensor = torch.as_tensor(values).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise GlowkitError(
            f"the integrand gave {shown(values)}; it must return a tensor or an array of values"
        ) from error
    if tensor.shape != (count,) or tensor.is_complex():
        kind = "complex numbers of shape " if tensor.is_complex() else "shape "
        raise GlowkitError(
            f"the integrand gave {kind}{tuple(tensor.shape)} for {count} points; it must return"
            f" one real number each, ({count},), such as by .sum(1)"
        )
    return tensor.double()


def _pairs(bounds: Bounds, dims: int) -> list[tuple[float, float]]:
    try:
        pairs = [(float(low), float(high)) for low, high in bounds]
    except (TypeError, ValueError) as error:
        raise GlowkitError(
            f"bounds is {shown(bounds)}; give a pair (low, high) for each dimension"
        ) from error
    if len(pairs) != dims:
        raise GlowkitError(f"there are {len(pairs)} bounds for {dims} dimension(s); give {dims}")
    for number, (low, high) in enumerate(pairs):
        if not (math.isfinite(low) and math.isfinite(high)):
            raise GlowkitError(
                f"the bounds of dimension {number} are {low:g} and {high:g}; they must be finite:"
                " substitute a variable with finite ones"
            )
        if not low < high:
            raise GlowkitError(
                f"the bounds of dimension {number} are {low:g} and {high:g}; the lower one must"
                " come first"
            )
    return pairs
