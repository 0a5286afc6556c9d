"""Small files of settings, read with bounds: nothing in them can hang, fill memory or run."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from glowkit.core.errors import GlowkitError, shown

MOST_BYTES = 1 << 20
"""Of a file of settings; those that are written have about a thousand."""

MOST_DEPTH, MOST_VALUES = 20, 100_000
"""Of nested values. Those of YAML may refer to each other, so that few bytes can stand for many."""


def read_small(path: Path) -> str:
    """The text of a file of settings.

    Raises GlowkitError when it is no regular file, cannot be read, is too large or is not UTF-8.
    """
    if not os.path.isfile(path):
        raise GlowkitError(f"no such file: {path}")
    try:
        size = os.path.getsize(path)
        if size > MOST_BYTES:
            raise GlowkitError(
                f"{path} has {size:,} bytes, where settings have at most {MOST_BYTES:,}; it is"
                " damaged or another kind of file"
            )
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise GlowkitError(
            f"{path} is damaged: byte {error.start} is not of a text in UTF-8"
        ) from error
    except OSError as error:
        raise GlowkitError(f"{path} cannot be read: {error.strerror or error}") from error


def parse_json(text: str, constants: Mapping[str, float] = MappingProxyType({})) -> Any:
    """The value of a JSON text; constants: those of NaN and infinity that it may hold.

    Raises ValueError when it is none, and also for other constants, numbers too large for a float,
    a name that is given twice and nesting without end.

    >>> parse_json('{"steps": 8}')
    {'steps': 8}
    """

    def constant(name: str) -> float:
        return constants[name] if name in constants else _finite(name)

    try:
        found = json.loads(
            text, object_pairs_hook=_no_name_twice, parse_constant=constant, parse_float=_finite
        )
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    check_plain(found)
    return found


def check_plain(value: object) -> None:
    """Refuse what no settings hold: other than text, numbers, lists and names, and too much.

    Raises ValueError.
    """
    left, count = [(value, 0)], 0
    while left:
        outer, depth = left.pop()
        for inner in _inner(outer):
            count += 1
            if count > MOST_VALUES or depth > MOST_DEPTH:
                raise ValueError("it holds more, or nested deeper, than settings do")
            left.append((inner, depth + 1))


def _inner(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise ValueError("it has a name that is no text")
        return value.values()
    if isinstance(value, list):
        return value
    if value is None or isinstance(value, str | int | float):
        return ()
    raise ValueError(f"it holds a {type(value).__name__}, which is no setting")


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for name, value in pairs:
        if name in names:
            raise ValueError(f"{shown(name)} is given twice")
        names[name] = value
    return names


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:100]} is no number that a setting can have")
    return number
