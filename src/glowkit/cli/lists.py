"""`glowkit presets` and `glowkit data`: what there is."""

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glowkit.cli import completion
from glowkit.cli.common import JSON, refuse_given, show_json
from glowkit.cli.speech import QUIET, say, show

if TYPE_CHECKING:
    from glowkit.data import PointSource, Source, TableSource
    from glowkit.models import Config


SHAPING = ("levels", "steps", "width", "couplings", "depth", "blocks")


def presets(as_json: Annotated[bool, JSON] = False, quiet: Annotated[bool, QUIET] = False) -> None:
    """List the models that can be trained by name, with their sizes.

    Example: `glowkit presets`
    """
    from glowkit.models import (
        DEFAULT_POINTS_PRESET,
        DEFAULT_PRESET,
        DEFAULT_TABLE_PRESET,
        PRESETS,
        count_parameters,
        to_settings,
    )

    counts = {name: count_parameters(config) for name, config in PRESETS.items()}
    if as_json:
        show_json(
            {
                name: {"parameters": counts[name], "model": to_settings(config)}
                for name, config in PRESETS.items()
            }
        )
        return
    marks = {DEFAULT_PRESET: "by default; ", DEFAULT_POINTS_PRESET: "by default for points; "}
    marks |= {DEFAULT_TABLE_PRESET: "by default for tables; "}
    width = max(map(len, PRESETS))
    for name, config in PRESETS.items():
        takes = f"{_takes(config):<22}"
        say(f"{name:<{width}}  {takes}  {counts[name]:>11,} parameters")
        settings = " ".join(f"{setting}={value}" for setting, value in _own(config).items())
        say(f"    {marks.get(name, '')}{settings}", "    ")
    say("The image size, levels of pixels and classes of a preset follow your data.")


def _takes(config: "Config") -> str:
    """The shape of what a preset takes, and its levels; points have none."""
    if not hasattr(config, "image_shape"):
        return f"points ({config.dimensions}-D)"
    return f"{'x'.join(map(str, config.image_shape))}, {config.pixel_levels} levels"


def _own(config: "Config") -> dict[str, Any]:
    """The numbers that shape a preset, and whatever else is not as its family has it."""
    usual = {field.name: field.default for field in fields(config)}
    return {
        name: value
        for name, value in asdict(config).items()
        if name not in ("image_shape", "pixel_levels", "dimensions")
        and (value != usual[name] or name in SHAPING)
    }


def data(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help="Data to open and describe.", autocompletion=completion.data
        ),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Resize and crop image files to this.")] = None,
    channels: Annotated[int | None, typer.Option(help="1, 3 or 4 channels.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Skip damaged images.")] = False,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """List the kinds of data, or open one and say what is in it.

    Example: `glowkit data photos/ --size 64`
    """
    from glowkit.data import list_sources, open_source

    if source is None:
        refuse_given(
            "without DATA there is nothing to open", size=size, channels=channels, skip_bad=skip_bad
        )
        rows = list_sources()
        if as_json:
            show_json({row.spec: row._asdict() for row in rows})
            return
        for row in rows:
            levels = f", {row.levels} levels" if row.levels else ""
            say(row.spec)
            say(f"    {row.description} ({row.shape}{levels})", "    ")
        return
    opened = open_source(source, size=size, channels=channels, skip_bad=skip_bad)
    figures, text = _DESCRIBED[opened.things](opened)
    if as_json:
        show_json({"data": opened.name} | figures)
    else:
        show(source, text)


def _describe_images(opened: "Source") -> tuple[dict[str, Any], dict[str, str]]:
    figures = {
        "images": {name: len(split) for name, split in opened.splits.items()},
        "image_shape": list(opened.image_shape),
        "levels": opened.pixel_levels,
        "pixel_levels": opened.pixel_levels,
        "classes": list(opened.class_names),
        "notes": list(opened.notes),
    }
    counts = ", ".join(f"{len(split)} {name}" for name, split in opened.splits.items())
    text = {
        "images": counts,
        "shape": "x".join(map(str, opened.image_shape)) + " (channels x height x width)",
        "pixel levels": str(opened.pixel_levels),
        "classes": ", ".join(opened.class_names) or "none",
    }
    notes = {f"note {i}": note for i, note in enumerate(opened.notes, 1)}
    return figures, text | notes


def _describe_points(points: "PointSource") -> tuple[dict[str, Any], dict[str, str]]:
    counts = {name: len(split) for name, split in points.splits.items()}
    entropy = points.density.entropy()
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    text = {"points": said, "shape": "2 coordinates", "entropy": f"{entropy:.6f} nats"}
    return {"points": counts, "entropy_nats": entropy}, text


def _describe_rows(table: "TableSource") -> tuple[dict[str, Any], dict[str, str]]:
    counts = {name: len(split) for name, split in table.splits.items()}
    rows = table.splits["train"].rows
    moments = {
        name: {"mean": float(mean), "deviation": float(deviation)}
        for name, mean, deviation in zip(table.columns, rows.mean(0), rows.std(0), strict=True)
    }
    text = {
        "rows": ", ".join(f"{count} {name}" for name, count in counts.items()),
        "columns": f"{len(table.columns)}",
    }
    text |= {name: f"{m['mean']:.5g} ± {m['deviation']:.3g}" for name, m in moments.items()}
    figures = {"rows": counts, "columns": moments, "notes": list(table.notes)}
    return figures, text | {f"note {i}": note for i, note in enumerate(table.notes, 1)}


_DESCRIBED: dict[str, Callable[[Any], tuple[dict[str, Any], dict[str, str]]]] = {
    "images": _describe_images,
    "points": _describe_points,
    "rows": _describe_rows,
}
