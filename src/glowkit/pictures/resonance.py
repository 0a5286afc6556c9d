"""Pictures of a resonance search: curves of significance improvement, bumps, and a scan."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from glowkit.pictures.plots import figure_png

WIDTH = 6.4  # inches
DPI = 150
SHADE: dict[str, Any] = {"color": "#f3d9a5", "alpha": 0.6, "linewidth": 0}
Window = tuple[float, float]


class Histogram(NamedTuple):
    """Counts of m in bins between edges (K + 1,), and what a fit expects of each, (K,)."""

    title: str
    edges: Tensor
    counts: Tensor
    fit: Tensor


def sic_image(curves: Mapping[str, tuple[Tensor, Tensor]]) -> bytes:
    """A PNG of ε_S / √ε_B against ε_S, a line for each name; `optimal` black, and dashed."""
    figure, axes = _figure(1, 3.6)
    for name, (efficiency, sic) in curves.items():
        style = {"color": "black", "linestyle": "--"} if name == "optimal" else {}
        axes[0].plot(efficiency.numpy(), sic.numpy(), label=name, linewidth=1.4, **style)
    axes[0].set(
        xlabel=r"signal efficiency $\epsilon_S$",
        ylabel=r"$\epsilon_S\,/\,\sqrt{\epsilon_B}$",
        xlim=(0, 1),
        ylim=(0, None),
    )
    axes[0].legend(frameon=False)
    return figure_png(figure)


def bump_image(histograms: Sequence[Histogram], window: Window, mass: str) -> bytes:
    """A PNG of histograms of m above each other, with their fits and the window."""
    figure, axes = _figure(len(histograms), 1.9)
    for place, (title, edges, counts, fit) in zip(axes, histograms, strict=True):
        middle, n = (edges[1:] + edges[:-1]) / 2, counts.double()
        place.axvspan(*window, **SHADE)
        place.stairs(fit.numpy(), edges.numpy(), color="#20407f", label="fit of the side bands")
        place.errorbar(
            middle.numpy(), n.numpy(), n.sqrt().numpy(), fmt=".", color="black", ms=4, lw=0.8
        )
        place.set_title(title, fontsize=9, loc="left")
        place.set(ylim=(0, None), ylabel="events", xlim=(float(edges[0]), float(edges[-1])))
    axes[-1].set_xlabel(mass)
    axes[0].legend(frameon=False, fontsize=8)
    return figure_png(figure)


def scan_image(
    windows: Sequence[Window], significances: Mapping[str, Sequence[float]], mass: str
) -> bytes:
    """A PNG of the local significance of each window, a step line for each cut."""
    figure, axes = _figure(1, 2.8)
    for name, values in significances.items():
        for place, ((low, high), z) in enumerate(zip(windows, values, strict=True)):
            color = f"C{list(significances).index(name)}"
            label = name if place == 0 else None
            at = [z, z] if math.isfinite(z) else [math.nan] * 2
            axes[0].plot([low, high], at, color=color, linewidth=2, label=label)
    axes[0].axhline(0, color="0.6", linewidth=0.8)
    axes[0].axhline(3, color="0.6", linewidth=0.8, linestyle="--")
    axes[0].set(xlabel=f"window of {mass}", ylabel="local significance Z")
    axes[0].legend(frameon=False, fontsize=8)
    return figure_png(figure)


def _figure(rows: int, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure((WIDTH, rows * height), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, squeeze=False, sharex=True)[:, 0]
    for place in axes:
        place.spines[["top", "right"]].set_visible(False)
        place.grid(color="0.93")
        place.set_axisbelow(True)
    return figure, axes
