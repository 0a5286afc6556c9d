"""report.html: all that is known of a run, in one file that needs no other and runs no script."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from glowkit.pictures.charts import SHOWN, bar_chart, curve_chart, frame_of, in_frame
from glowkit.pictures.layout import Strip, taken_apart
from glowkit.pictures.sheet import enlargement, inline
from glowkit.system.errors import GlowkitError
from glowkit.system.files import write_atomically
from glowkit.training.allowance import number_of, some_again
from glowkit.training.metrics import Row, read_rows
from glowkit.training.objective import IMAGES, Objective
from glowkit.training.subject import exactness, sign

SIDE, LARGEST = 64, 256  # CSS pixels of small images on the page, and of large ones


@dataclass(frozen=True)
class Section:
    """A part of the report: what it shows and how to read it; without a picture, why there is none.

    png: the picture as PNG, or None. note: what it was computed on. broken: how many of its images
    could not be computed. bars: "edges", "counts" and "mean" of a histogram, drawn instead.
    """

    title: str
    text: str
    png: bytes | None = None
    note: str = ""
    broken: int = 0
    bars: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Origin:
    """How a run came about.

    facts: parameters, time, device and the like, by what they are. start: what `changed` differs
    from. changed: (setting, value, value there). settings: all of them, shown folded, as YAML.
    commands: what trains the run again, and what that is.
    """

    settings: Mapping[str, Any]
    commands: Sequence[tuple[str, str]]
    facts: Mapping[str, str] = field(default_factory=dict)
    start: str = ""
    changed: Sequence[tuple[str, str, str]] = ()


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
    path: Path,
    title: str,
    figures: Mapping[str, Any],
    origin: Origin,
    sheets: Sequence[tuple[str, Path]],
    curves: Path,
    baselines: Mapping[str, float] | None,
    objective: Objective = IMAGES,
    sections: Sequence[Section] = (),
    others: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
    validated: Mapping[str, Any] | None = None,
) -> Path:
    """Write a page that holds its images itself and links to nothing; returns its path.

    figures: the fields of `glowkit.tasks.Evaluation`, or `PointsEvaluation`, and "split",
        the split they were measured on; "data", its name, if known.
    sheets: (title, PNG or GIF file). curves: the run's metrics.csv.
    baselines: test figures by name, if they were fitted.
    objective: what the run is about.
    sections: what else there is to see, after the samples.
    validated: how many examples of the validation split its figures are of, and of how many.
    others: further evaluations, what each is of and its figure. notes: what a reader must know.

    Raises:
        GlowkitError: when a sheet cannot be read or the report cannot be written.
    """
    steps = read_rows(curves)
    ranked = dict(sorted((baselines or {}).items(), key=lambda item: item[1]))
    validation = _series(steps, f"validation_{objective.figure}")
    evaluations = sum(bool(row.get(f"validation_{objective.figure}")) for row in steps)
    best = min(validation, key=lambda point: point[1]) if validation else None
    chart, cut, outside = _chart(steps, objective, ranked, best, f"of {title}")
    page = page_template(objective.report).render(
        title=title,
        headline=objective.headline(figures, ranked),
        figures=figures,
        sign=sign(figures),
        kind=exactness(figures),
        error_known=math.isfinite(figures["standard_error"]),
        unit=objective.unit,
        things=objective.things,
        log2=math.log2,
        baselines=ranked.items(),
        chart=chart,
        cut=cut,
        outside=outside,
        best=best,
        seen=objective.figure in figures,
        trained=_at_the_end(steps, f"train_{objective.figure}", best),
        shown=SHOWN,
        evaluations=evaluations,
        number=number_of(figures, objective.things),
        some_again=some_again(figures) if "images" in figures else "",
        validated=number_of(validated, objective.things) if validated else "",
        lost=evaluations - len(validation),
        others=others,
        notes=notes,
        sheets=[
            _shown(name, path.suffix[1:], _bytes(path), objective.plotted) for name, path in sheets
        ],
        sections=[_section(section, objective.unit) for section in sections],
        origin=origin,
        settings=yaml.safe_dump(dict(origin.settings), sort_keys=False),
    )
    write_atomically(path, page.encode())
    return path


def kept_step(curves: Path, objective: Objective) -> int | None:
    """The step whose weights were the best on the validation split, if any was evaluated."""
    points = _series(read_rows(curves), f"validation_{objective.figure}")
    return min(points, key=lambda point: point[1])[0] if points else None


def _section(section: Section, unit: str) -> dict[str, Any]:
    shown = _shown(section.title, "png", section.png) if section.png else {}
    chart = ""
    if section.bars is not None:
        name = f"{section.title}: a histogram"
        bars = section.bars
        chart = bar_chart(name, unit, bars["edges"], bars["counts"], bars["mean"])
    return {
        "strips": [],
        "picture": "",
        "plot": False,
        "numbered": False,
        **shown,
        "name": section.title,
        "text": section.text,
        "note": section.note,
        "chart": chart,
    }


def _shown(name: str, kind: str, picture: bytes, plot: bool = False) -> dict[str, Any]:
    """A sheet as rows of its images, each by itself, where it says where they lie; else whole.

    plot: whether it is lines on white paper, which may turn dark.
    """
    strips = [_strip(strip, number == 0) for number, strip in enumerate(_rows(kind, picture))]
    return {
        "name": name,
        "strips": strips,
        "numbered": any(tile["number"] for strip in strips for tile in strip["tiles"]),
        "picture": "" if strips else inline(picture, kind),
        "plot": plot and kind == "png",
    }


def _rows(kind: str, picture: bytes) -> list[Strip]:
    return [row for row in taken_apart(picture) if row.tiles] if kind == "png" else []


def _strip(strip: Strip, first: bool) -> dict[str, Any]:
    """side: CSS pixels that an image is at most wide, a multiple of its own where they are few."""
    width = strip.tiles[0].width
    return {
        "label": strip.label,
        "side": min(width * enlargement(width, strip.tiles[0].height, SIDE), LARGEST),
        "tiles": [
            {
                "png": tile.png and inline(tile.png),
                "width": tile.width,
                "height": tile.height,
                "small": tile.width <= SIDE,
                "number": tile.number,
                "heading": tile.heading if first else "",
            }
            for tile in strip.tiles
        ],
    }


def _series(rows: Sequence[Row], column: str) -> list[tuple[int, float]]:
    """(step, value) where the column has a finite value; a skipped step leaves nan there."""
    points = [(int(row["step"]), float(row[column])) for row in rows if row.get(column)]
    return [(step, value) for step, value in points if math.isfinite(value)]


def _at_the_end(
    rows: Sequence[Row], column: str, best: tuple[int, float] | None
) -> tuple[int, int, float] | None:
    """The mean figure in training up to the kept step, over its last tenth: (from, to, figure)."""
    last = best[0] if best else int(rows[-1]["step"]) if rows else 0
    points = [(step, value) for step, value in _series(rows, column) if 0.9 * last < step <= last]
    if not points:
        return None
    return points[0][0], points[-1][0], sum(value for _, value in points) / len(points)


def _chart(
    rows: Sequence[Row],
    objective: Objective,
    baselines: Mapping[str, float],
    best: tuple[int, float] | None,
    of: str,
) -> tuple[str, bool, list[str]]:
    """The curves as SVG, whether they leave the frame, and the baselines too far off to draw."""
    lines = {name: _series(rows, f"{name}_{objective.figure}") for name in ("train", "validation")}
    rate = _series(rows, "learning_rate")
    if not (rate or any(lines.values())):
        return "", False, []
    known = {name: value for name, value in baselines.items() if math.isfinite(value)}
    values = [value for points in lines.values() for _, value in points]
    frame = frame_of(values, known)
    outside = sorted(set(known) - set(in_frame(known, frame)))
    cut = max(values, default=frame[1]) > frame[1]
    title = f"{objective.unit} {of} in training and validation, and learning rate, against step"
    return curve_chart(title, objective.unit, lines, known, best, rate), cut, outside


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GlowkitError(f"cannot read the sample sheet {path}: {error.strerror}") from error
