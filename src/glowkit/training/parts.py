"""What each command found out about a run, kept in RUN/report until the report is written."""

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glowkit.system.files import write_atomically
from glowkit.tasks.likelihood import IN_WORDS

KINDS = ("figures", "baselines", "classification", "section", "validation")
_FORMAT = 1
_MOST_BYTES = 2**26  # of a part; a sheet of images has a hundredth of it
_PNG = b"\x89PNG"
# What the report prints of a part, in either of these sets.
_NUMBERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "baselines": ((),),
    "figures": (
        ("bits_per_dim", "standard_error", "images", "levels", "importance_samples"),
        ("nll_nats", "standard_error", "entropy_nats", "kl_nats", "paired_kl_nats", "points"),
        ("nll_nats", "standard_error", "rows", "largest_error"),
        ("noisy_nll_nats", "standard_error", "noise_deviation", "images", "levels", "draws"),
    ),
    "validation": (
        ("images", "images_in_split"),
        ("points", "points_in_split"),
        ("rows", "rows_in_split"),
    ),
    "classification": (
        (
            "accuracy",
            "accuracy_standard_error",
            "marginal_bits_per_dim",
            "marginal_standard_error",
        ),
    ),
}


@dataclass(frozen=True)
class Part:
    """What one command found out, and of what.

    name: of its file; another part of this name is replaced.
    kind: "figures" of an evaluation, "baselines" (bits/dim by name), "classification", or a
        "section" with "title" and "text", and perhaps "bars", a histogram.
    content: by plain names. about: what it was computed on, in the words of the report.
    weights: a digest of the model's weights, or "" for what does not depend on them.
    png: a picture, or None.
    """

    name: str
    kind: str
    content: dict[str, Any]
    about: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    png: bytes | None = None


def write_part(run: Path, part: Part) -> None:
    """Write RUN/report/NAME.json, all of it or nothing.

    Raises:
        GlowkitError: when it cannot be written.
    """
    png = part.png and base64.b64encode(part.png).decode()
    content = {"format": _FORMAT, **vars(part), "png": png}
    write_atomically(run / "report" / f"{part.name}.json", json.dumps(content).encode())


def read_parts(run: Path) -> tuple[list[Part], list[str]]:
    """The parts of RUN/report in the order of their names, and the names of damaged files."""
    parts, damaged = [], []
    for path in sorted((run / "report").glob("*.json")):
        try:
            parts.append(_read(path))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            damaged.append(path.name)
    return parts, damaged


def _read(path: Path) -> Part:
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError("too large for a part of a report")
    held = json.loads(path.read_bytes())
    png = held["png"]
    try:
        picture = None if png is None else base64.b64decode(png, validate=True)
    except binascii.Error as error:
        raise ValueError("not a picture") from error
    part = Part(path.stem, held["kind"], held["content"], held["about"], held["weights"], picture)
    if held["format"] != _FORMAT or part.kind not in KINDS or not isinstance(part.weights, str):
        raise ValueError("not a part of a report")
    if picture is not None and not picture.startswith(_PNG):
        raise ValueError("not a picture")
    _check(part)
    return part


def _check(part: Part) -> None:
    """Refuse what the report could not print."""
    for values in (part.content, part.about):
        if not isinstance(values, Mapping):
            raise ValueError("not a part of a report")
    if part.kind == "section":
        if not all(isinstance(part.content[name], str) for name in ("title", "text")):
            raise ValueError("a section has a title and a text")
        if "bars" in part.content:
            _check_bars(part.content["bars"])
        return
    numbers = [value for name, value in part.content.items() if name != "kind"]
    if not all(isinstance(value, int | float) for value in numbers):
        raise ValueError("figures are numbers")
    if part.content.get("kind", "exact") not in list(IN_WORDS):
        raise ValueError("not a kind of figure")
    if not any(part.content.keys() >= set(names) for names in _NUMBERS[part.kind]):
        raise ValueError("figures are missing")


def _check_bars(bars: Any) -> None:
    edges, counts = bars["edges"], bars["counts"]
    if not all(isinstance(n, int | float) for n in [*edges, *counts, bars["mean"]]):
        raise ValueError("not a histogram")
    if len(edges) != len(counts) + 1 or not all(map(math.isfinite, [*edges, *counts])):
        raise ValueError("not a histogram")
