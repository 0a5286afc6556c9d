"""Checks that the configs share."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from glowkit.core import GlowkitError


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a value that is not among the choices."""
    if value not in choices:
        raise GlowkitError(f"{name} {value!r} does not exist; choose one of {', '.join(choices)}")


def check_at_least(config: object, **minima: float) -> None:
    """Refuse settings below their minimum, and those that are not of the kind that is meant."""
    for field in fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if field.type in (int, "int") and (not isinstance(value, int) or isinstance(value, bool)):
            raise GlowkitError(f"{field.name} is {value!r}; it must be a whole number")
        if field.type in (bool, "bool") and not isinstance(value, bool):
            raise GlowkitError(f"{field.name} is {value!r}; it must be true or false")
        if field.type in (float, "float") and not _is_number(value):
            raise GlowkitError(f"{field.name} is {value!r}; it must be a number")
    for name, minimum in minima.items():
        value = getattr(config, name)
        if value < minimum:
            raise GlowkitError(f"{name} is {value}; it must be at least {minimum}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_untouched(config: Any, only: str, *names: str) -> None:
    """Refuse settings that nothing reads in this config, unless they are as they come."""
    defaults = {field.name: field.default for field in fields(config)}
    for name in names:
        value = getattr(config, name)
        if value != defaults[name]:
            raise GlowkitError(
                f"{name} is {value}, but only {only} uses it; leave it out, or choose {only}"
            )


def check_sides(shape: Sequence[int], halvings: int) -> None:
    """Refuse an image whose sides cannot be halved that often, naming the sides that can."""
    if len(shape) != 3 or not all(isinstance(size, int) and size >= 1 for size in shape):
        raise GlowkitError(
            f"image_shape is {tuple(shape)}; give channels, height, width as whole numbers"
        )
    step = 2**halvings
    for side in shape[1:]:
        if side % step:
            below, above = side // step * step, -(-side // step) * step
            near = f"{below} or {above}" if below else f"{above}"
            raise GlowkitError(
                f"a side of {side} pixels is not divisible by {step}, as {halvings} halvings need;"
                f" use a side of {near} (for example with --size), or fewer levels"
            )


def check_no_classes(family: str, classes: int) -> None:
    """Refuse class labels where no part of the model takes them yet."""
    if classes:
        raise GlowkitError(
            f"{family} is not conditional: it has no use for {classes} classes; set classes to 0,"
            " or train a Glow"
        )
