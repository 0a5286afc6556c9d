"""Pictures of coding with loss: error over rate, and over generations."""

from collections.abc import Mapping, Sequence

from glowkit.pictures.plots import figure_png

OURS = "glowkit"
Line = Sequence[tuple[float, float, float, float]]
"""Step or quality, PSNR, bits/pixel of files, and without their headers."""


def curve_image(lines: Mapping[str, Line], again: Mapping[str, Sequence[float]]) -> bytes:
    """A PNG of PSNR over bits/pixel, dotted without headers, and over generations where given.

    `glowkit` is black, and every other codec has one colour in both panels.

    >>> curve_image({"glowkit": [(1.0, 50.0, 4.0, 3.5), (4.0, 44.0, 2.0, 1.6)]}, {})[1:4]
    b'PNG'

    Points without an error, whose PSNR is infinite, are left out.
    """
    from matplotlib.figure import Figure

    panels = 2 if again else 1
    figure = Figure((5.2 * panels, 4.2), dpi=150, layout="constrained")
    places = figure.subplots(1, panels, squeeze=False)[0]
    names = [name for name in (*lines, *again) if name != OURS]
    colours = {name: f"C{number}" for number, name in enumerate(dict.fromkeys(names))}
    colours[OURS] = "black"
    for name, line in lines.items():
        rows = [row for row in sorted(line, key=lambda row: row[2]) if row[1] < float("inf")]
        if not rows:  # lossless at every step
            continue
        _, error, files, bare = zip(*rows, strict=True)
        places[0].plot(files, error, color=colours[name], label=name, marker=".")
        places[0].plot(bare, error, color=colours[name], linestyle=":")
    places[0].set(xlabel="bits/pixel (dotted: without headers)", ylabel="PSNR, dB")
    for name, errors in again.items():
        places[1].plot(range(1, len(errors) + 1), errors, color=colours[name], label=name)
    if again:
        places[1].set(xlabel="generation", ylabel="PSNR, dB", xscale="log")
    for place in places:
        if place.get_legend_handles_labels()[0]:
            place.legend(frameon=False, fontsize=8)
        place.grid(color="0.93")
        place.spines[["top", "right"]].set_visible(False)
    return figure_png(figure)
