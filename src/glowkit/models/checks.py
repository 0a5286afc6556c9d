"""Checks that the configs share."""

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from glowkit.core import GlowkitError, shown

LARGEST = 2**31 - 1
"""Of whole numbers in a config: of what counts something, no computer holds more."""


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse a value that is not among the choices."""
    if not isinstance(value, str) or value not in choices:
        raise GlowkitError(
            f"{name} {shown(value)} does not exist; choose one of {', '.join(choices)}"
        )


def check_at_least(config: object, **minima: float) -> None:
    """Refuse settings below their minimum, and those that are not of the kind that is meant."""
    for field in fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if field.type in (int, "int"):
            _check_whole(field.name, value)
        if field.type in (bool, "bool") and not isinstance(value, bool):
            raise GlowkitError(f"{field.name} is {shown(value)}; it must be true or false")
        if field.type in (float, "float") and not _is_number(value):
            raise GlowkitError(f"{field.name} is {shown(value)}; it must be a number")
    for name, minimum in minima.items():
        value = getattr(config, name)
        if value < minimum:
            raise GlowkitError(f"{name} is {value}; it must be at least {minimum}")


def _check_whole(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise GlowkitError(f"{name} is {shown(value)}; it must be a whole number")
    if value > LARGEST:
        raise GlowkitError(f"{name} is {shown(value)}; it must be at most {LARGEST}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_untouched(config: Any, only: str, *names: str) -> None:
    """Refuse settings that nothing reads in this config, unless they are as they come."""
    defaults = {field.name: field.default for field in fields(config)}
    for name in names:
        value = getattr(config, name)
        if value != defaults[name]:
            raise GlowkitError(
                f"{name} is {shown(value)}, but only {only} uses it; leave it out, or choose {only}"
            )


def image_shape(value: object) -> tuple[int, int, int]:
    """The shape of an image, whatever sequence a file holds.

    Raises GlowkitError when it is not channels, height and width.
    """
    sizes = tuple(value) if isinstance(value, list | tuple) else ()
    if len(sizes) != 3 or not all(type(size) is int and size >= 1 for size in sizes):
        raise GlowkitError(
            f"image_shape is {shown(value)}; give channels, height, width as whole numbers"
        )
    if math.prod(sizes) > LARGEST:
        raise GlowkitError(f"image_shape is {shown(value)}; an image has at most {LARGEST} numbers")
    return sizes


def check_sides(shape: tuple[int, int, int], halvings: int) -> None:
    """Refuse an image whose sides cannot be halved that often, naming the sides that can."""
    if halvings > (most := LARGEST.bit_length()):
        raise GlowkitError(f"{halvings} halvings leave nothing of an image; use at most {most}")
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
