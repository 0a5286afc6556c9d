"""Pictures of results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import limit
from benchmarks.floor import LAYOUTS
from benchmarks.rounds import fastest, ratio
from benchmarks.steps import STORED
from benchmarks.tables import Rows, describe
from glowkit.system.files import replacing

WIDTH = 8.0
"""Inches."""


def draw(results: dict[str, Any], folder: Path) -> list[str]:
    """Write a PNG for each section that has one; returns their file names."""
    names = []
    for section, picture in PICTURES.items():
        if section in results:
            name = f"performance-{section}.png"
            with replacing(folder / name) as path:
                FigureCanvasAgg(picture(results[section]["rows"])).print_png(path)
            names.append(name)
    return names


def _steps(rows: Rows) -> Figure:
    """A panel for each task: time over floor of every subject, the cases one below the other."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    every = dict.fromkeys(name for row in rows for name in row["times"])
    subjects = [name for name in every if name not in (*LAYOUTS, limit.NAME)]
    height = 0.8 / len(subjects)
    colors = colormaps["tab20"].colors  # type: ignore[attr-defined]
    figure = Figure((WIDTH, 0.6 + 0.6 * len(rows) + 0.6 * len(tasks)), layout="constrained")
    panels = figure.subplots(len(tasks), sharex=True, squeeze=False)[:, 0]
    for axes, task in zip(panels, tasks, strict=True):
        of_task = [row for row in rows if row["task"] == task]
        for index, subject in enumerate(subjects):
            timed = [(i, row) for i, row in enumerate(of_task) if subject in row["times"]]
            places = [i + index * height for i, _ in timed]
            values = [_over_floor(row, subject) for _, row in timed]
            axes.barh(places, values, height, color=colors[index], label=subject)
        axes.axvline(1, color="0.3", linewidth=1)
        axes.set_yticks(range(len(of_task)), [describe(row["case"]) for row in of_task], va="top")
        axes.tick_params(axis="y", labelsize=7)
        axes.invert_yaxis()
        axes.set_title(task, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("time / floor")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _over_floor(row: dict[str, Any], subject: str) -> float:
    times = row["times"]
    return ratio(times[subject], times[fastest(times, list(LAYOUTS), STORED)]).median


def _memory(rows: Rows) -> Figure:
    return _against_depth(rows, "subject", lambda row: row["bytes"] / 2**20, "peak MiB")


def _drift(rows: Rows) -> Figure:
    return _against_depth(rows, "mode", lambda row: row["error"], "relative error of the gradient")


def _against_depth(
    rows: Rows, key: str, value: Callable[[dict[str, Any]], float], label: str
) -> Figure:
    figure = Figure((WIDTH, 0.6 * WIDTH), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(row[key] for row in rows):
        points = [(row["case"]["steps"], value(row)) for row in rows if row[key] == name]
        axes.plot(*zip(*points, strict=True), marker=".", label=name)
    axes.set(xlabel="K, steps of flow in each level", ylabel=label, xscale="log", yscale="log")
    depths = sorted({row["case"]["steps"] for row in rows})
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.minorticks_off()
    axes.legend(frameon=False)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


PICTURES: dict[str, Callable[[Rows], Figure]] = {
    "steps": _steps,
    "memory": _memory,
    "drift": _drift,
}
"""The sections that are drawn."""
