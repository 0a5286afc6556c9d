"""report.html, made of parts that each command keeps."""

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from glowkit.pictures.plots import figure_png
from glowkit.pictures.sheet import inline
from glowkit.system.errors import GlowkitError
from glowkit.system.files import write_atomically
from glowkit.tasks.likelihood import IN_WORDS
from glowkit.training.allowance import number_of, some_again
from glowkit.training.metrics import read_rows
from glowkit.training.objective import IMAGES, Objective
from glowkit.training.subject import exactness, sign

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
        "section" with "title" and "text".
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
        return
    numbers = [value for name, value in part.content.items() if name != "kind"]
    if not all(isinstance(value, int | float) for value in numbers):
        raise ValueError("figures are numbers")
    if part.content.get("kind", "exact") not in list(IN_WORDS):
        raise ValueError("not a kind of figure")
    if not any(part.content.keys() >= set(names) for names in _NUMBERS[part.kind]):
        raise ValueError("figures are missing")


SIZE = (5.5, 4.8)  # inches; narrow, so that the lettering is still read on a phone
SHOWN = 97  # per cent of the values: the first steps are so high that they would flatten the rest


@dataclass(frozen=True)
class Section:
    """A part of the report: what it shows and how to read it; without a picture, why there is none.

    png: the picture as PNG, or None. note: what it was computed on. broken: how many of its images
    could not be computed.
    """

    title: str
    text: str
    png: bytes | None = None
    note: str = ""
    broken: int = 0


@cache
def page_template(name: str, folder: str = "training") -> jinja2.Template:
    """A template of a page, of this folder or another's; others may include this one's."""
    folders = dict.fromkeys([folder, "training"])
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("glowkit", one) for one in folders]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def write_report(
    run: Path,
    figures: Mapping[str, Any],
    settings: Mapping[str, Any],
    sheets: Sequence[tuple[str, Path]],
    curves: Path,
    baselines: Mapping[str, float] | None,
    command: str,
    objective: Objective = IMAGES,
    sections: Sequence[Section] = (),
    others: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
    validated: Mapping[str, Any] | None = None,
) -> Path:
    """Write RUN/report.html, which holds its images itself and links to nothing; returns its path.

    figures: the fields of `glowkit.tasks.Evaluation`, or `PointsEvaluation`, and "split",
        the split they were measured on; "data", its name, if known.
    settings: shown as YAML. sheets: (title, PNG or GIF file). curves: the run's metrics.csv.
    baselines: test figures by name, if they were fitted. command: trains the run again.
    objective: what the run is about.
    sections: what else there is to see, after the samples.
    validated: how many examples of the validation split its figures are of, and of how many.
    others: further evaluations, what each is of and its figure. notes: what a reader must know.

    Raises:
        GlowkitError: when a sheet cannot be read or the report cannot be written.
    """
    steps = read_rows(curves)
    validation = _series(steps, f"validation_{objective.figure}")
    evaluations = sum(bool(row.get(f"validation_{objective.figure}")) for row in steps)
    page = page_template(objective.report).render(
        title=run.resolve().name,
        figures=figures,
        sign=sign(figures),
        kind=exactness(figures),
        error_known=math.isfinite(figures["standard_error"]),
        unit=objective.unit,
        things=objective.things,
        log2=math.log2,
        baselines=sorted((baselines or {}).items(), key=lambda item: item[1]),
        curves=inline(_draw(steps, objective)) if steps else None,
        best=min(validation, key=lambda point: point[1]) if validation else None,
        shown=SHOWN,
        evaluations=evaluations,
        number=number_of(figures, objective.things),
        some_again=some_again(figures) if "images" in figures else "",
        validated=number_of(validated, objective.things) if validated else "",
        lost=evaluations - len(validation),
        others=others,
        notes=notes,
        sheets=[(title, inline(_bytes(path), path.suffix[1:])) for title, path in sheets],
        sections=[(s.title, s.text, s.png and inline(s.png), s.note) for s in sections],
        settings=yaml.safe_dump(dict(settings), sort_keys=False),
        command=command,
    )
    path = run / "report.html"
    write_atomically(path, page.encode())
    return path


def _series(rows: list[dict[str, str]], column: str) -> list[tuple[int, float]]:
    """(step, value) where the column has a finite value; a skipped step leaves nan there."""
    points = [(int(row["step"]), float(row[column])) for row in rows if row.get(column)]
    return [(step, value) for step, value in points if math.isfinite(value)]


def _draw(rows: list[dict[str, str]], objective: Objective) -> bytes:
    """The figure against step, and the learning rate small below, as PNG."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(SIZE, dpi=200, layout="constrained")
    curve, rate = figure.subplots(2, sharex=True, height_ratios=(4, 1))
    every: list[float] = []
    for name, style in (
        ("train", {"linewidth": 1.2}),
        ("validation", {"marker": ".", "zorder": 3}),
    ):
        points = _series(rows, f"{name}_{objective.figure}")
        if points:
            curve.plot(*zip(*points, strict=True), label=name, **style)
            every += [value for _, value in points]
    if every:
        low, high = min(every), float(np.percentile(every, SHOWN))
        room = 0.05 * (high - low) or 0.1
        curve.set_ylim(low - room, high + room)
        curve.legend(frameon=False)
    rates = _series(rows, "learning_rate")
    if rates:
        rate.plot(*zip(*rates, strict=True), color="0.4")
        rate.ticklabel_format(axis="y", scilimits=(-2, 2))
    curve.set_ylabel(objective.unit)
    rate.set(xlabel="step", ylabel="learning rate", ylim=(0, None))
    for axes in (curve, rate):
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    return figure_png(figure)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GlowkitError(f"cannot read the sample sheet {path}: {error.strerror}") from error
