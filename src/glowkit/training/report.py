"""report.html: what a run reached and how, in one file that can be sent to somebody."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from glowkit.core.errors import GlowkitError
from glowkit.core.files import write_atomically
from glowkit.training.rows import read_rows
from glowkit.training.subject import IMAGES, Subject

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


def write_report(
    run: Path,
    figures: Mapping[str, Any],
    settings: Mapping[str, Any],
    sheets: Sequence[tuple[str, Path]],
    curves: Path,
    baselines: Mapping[str, float] | None,
    command: str,
    subject: Subject = IMAGES,
    sections: Sequence[Section] = (),
    others: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write RUN/report.html, which holds its images itself and links to nothing; returns its path.

    figures: the fields of `glowkit.tasks.Evaluation`, or `PointsEvaluation`, and "split",
        the split they were measured on; "data", its name, if known.
    settings: shown as YAML. sheets: (title, PNG or GIF file). curves: the run's metrics.csv.
    baselines: test bits/dim by name, if they were fitted. command: trains the run again.
    subject: what the run is about.
    sections: what else there is to see, after the samples.
    others: further evaluations, what each is of and its figure. notes: what a reader must know.

    Raises:
        GlowkitError: when a sheet cannot be read or the report cannot be written.
    """
    steps = read_rows(curves)
    validation = _series(steps, f"validation_{subject.figure}")
    evaluations = sum(bool(row.get(f"validation_{subject.figure}")) for row in steps)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("glowkit", "training"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(subject.report).render(
        title=run.resolve().name,
        figures=figures,
        error_known=math.isfinite(figures["standard_error"]),
        unit=subject.unit,
        log2=math.log2,
        baselines=sorted((baselines or {}).items(), key=lambda item: item[1]),
        curves=_inline(_draw(steps, subject)) if steps else None,
        best=min(validation, key=lambda point: point[1]) if validation else None,
        shown=SHOWN,
        evaluations=evaluations,
        lost=evaluations - len(validation),
        others=others,
        notes=notes,
        sheets=[(title, _inline(_bytes(path), path.suffix[1:])) for title, path in sheets],
        sections=[(s.title, s.text, s.png and _inline(s.png), s.note) for s in sections],
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


def _draw(rows: list[dict[str, str]], subject: Subject) -> bytes:
    """The figure against step, and the learning rate small below, as PNG."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(SIZE, dpi=200, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    curve, rate = figure.subplots(2, sharex=True, height_ratios=(4, 1))
    every: list[float] = []
    for name, style in (
        ("train", {"linewidth": 1.2}),
        ("validation", {"marker": ".", "zorder": 3}),
    ):
        points = _series(rows, f"{name}_{subject.figure}")
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
    curve.set_ylabel(subject.unit)
    rate.set(xlabel="step", ylabel="learning rate", ylim=(0, None))
    for axes in (curve, rate):
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    drawn = io.BytesIO()
    canvas.print_png(drawn)
    return drawn.getvalue()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GlowkitError(f"cannot read the sample sheet {path}: {error.strerror}") from error


def _inline(picture: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode()
