"""Pictures of coding with loss: error over rate, and over generations."""

from collections.abc import Mapping, Sequence
from typing import Any

from glowkit.pictures.plots import figure_png

OURS = "glowkit"
MARKED = (1, 2, 5, 10, 20, 50, 100)
"""Generations."""

Line = Sequence[Sequence[float]]
"""Step or quality, PSNR, bits/pixel of files, and without their headers; no more is drawn."""


def curve_image(lines: Mapping[str, Line], again: Mapping[str, Sequence[float]]) -> bytes:
    """A PNG of PSNR over bits/pixel, dotted without headers, and over generations where given.

    `glowkit` is black, and every other codec has one colour in both panels.

    >>> curve_image({"glowkit": [(1.0, 50.0, 4.0, 3.5), (4.0, 44.0, 2.0, 1.6)]}, {})[1:4]
    b'PNG'

    Points without an error, whose PSNR is infinite, are left out, and those that take more
    bits than another one for no more dB.
    """
    from matplotlib.figure import Figure

    panels = 2 if again else 1
    figure = Figure((5.2 * panels + 1.2, 4.2), dpi=150, layout="constrained")
    places = figure.subplots(1, panels, squeeze=False)[0]
    names = [name for name in (*lines, *again) if name != OURS]
    colours = {name: f"C{number}" for number, name in enumerate(dict.fromkeys(names))}
    colours[OURS] = "black"
    for name, line in lines.items():
        rows: list[Sequence[float]] = []
        for row in sorted(line, key=lambda row: row[2]):
            if row[1] < float("inf") and not (rows and row[1] <= rows[-1][1]):
                rows.append(row)
        if not rows:  # lossless at every step
            continue
        _, error, files, bare = zip(*(row[:4] for row in rows), strict=True)
        places[0].plot(files, error, color=colours[name], label=name, marker=".")
        places[0].plot(bare, error, color=colours[name], linestyle=":")
    places[0].set(xlabel="bits/pixel (dotted: without headers)", ylabel="PSNR, dB")
    for name, errors in again.items():
        places[1].plot(range(1, len(errors) + 1), errors, color=colours[name], label=name)
    if again:
        places[1].set(xlabel="generation", ylabel="PSNR, dB", xscale="log")
        most = max(map(len, again.values()))
        shown = [number for number in MARKED if number <= most]
        places[1].set_xticks(shown, [str(number) for number in shown])
        places[1].minorticks_off()
    found: dict[str, Any] = {}
    for place in places:
        handles, labels = place.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
        place.grid(color="0.93")
        place.spines[["top", "right"]].set_visible(False)
    if found:
        handles, names = list(found.values()), list(found)
        figure.legend(handles, names, frameon=False, fontsize=8, loc="outside right upper")
    return figure_png(figure)
