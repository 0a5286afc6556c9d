"""Plots: a histogram, a density of the plane, and how it moves."""

from __future__ import annotations  # PIL's types are named without importing it

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from glowkit.core.density import Density
from glowkit.core.finite import finite_examples
from glowkit.pictures.layout import Place, with_layout
from glowkit.pictures.sheet import write_gif

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


def figure_png(figure: Figure) -> bytes:
    """A figure of matplotlib's as a PNG file holds it."""
    drawn = io.BytesIO()
    # `savefig` draws a figure with a layout twice.
    figure_image(figure).save(drawn, "png", dpi=(figure.dpi, figure.dpi))
    return drawn.getvalue()


def figure_image(figure: Figure) -> Image:
    """The same as an image of Pillow's, without writing a file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    size = canvas.get_width_height()
    return Image.frombytes("RGBA", size, bytes(canvas.buffer_rgba())).convert("RGB")


def histogram(bits: Tensor, marks: Mapping[str, float]) -> bytes:
    """A PNG of the histogram of bits/dim, (N,), with a dashed line at each of `marks` by its name.

    What is not finite cannot be drawn: the axis says how many images that are, the legend which
    marks.

    >>> import torch
    >>> histogram(torch.tensor([2.0, 2.1, 2.5]), {"mean": 2.2})[1:4]
    b'PNG'
    """
    from matplotlib.figure import Figure

    figure = Figure((5.5, 2.6), dpi=200, layout="constrained")
    axes = figure.subplots()
    # Rules that follow the spread ask for millions of bins where one image is far out.
    drawn = bits[bits.isfinite()]
    axes.hist(drawn.numpy(), bins="sqrt" if len(drawn) else 1)
    for number, (name, value) in enumerate(marks.items()):
        color = f"C{number + 1}"
        if math.isfinite(value):
            axes.axvline(value, color=color, linestyle="--", label=name)
        else:
            axes.plot([], [], color=color, linestyle="--", label=f"{name}: {value}, not drawn")
    axes.legend(frameon=False)
    lost = len(bits) - len(drawn)
    without = f" (without {lost} of {len(bits)} images that have none)" if lost else ""
    axes.set(xlabel=f"bits/dim{without}", ylabel="images")
    axes.spines[["top", "right"]].set_visible(False)
    return figure_png(figure)


def paired_histograms(
    panels: Mapping[str, Mapping[str, Tensor]], columns: int = 3, bins: int = 30
) -> bytes:
    """A PNG of histograms, a panel for each name, in each of which sets (N,) of values compare.

    Every set is drawn as its share in each bin. What is beyond the 1st and 99th percentile of all
    is counted in the outermost bins, for the rest would be flat; what is not finite is counted in
    the title.

    >>> import torch
    >>> paired_histograms({"score": {"inside": torch.rand(9), "outside": torch.rand(9)}})[1:4]
    b'PNG'
    """
    from matplotlib.figure import Figure

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure((2.6 * columns, 2.0 * rows + 0.3), dpi=150, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, (title, sets) in zip(axes, panels.items(), strict=False):
        every = torch.cat([values.double() for values in sets.values()])
        known = every[every.isfinite()]
        low, high = (known.quantile(q).item() if len(known) else 0.0 for q in (0.01, 0.99))
        edges = torch.linspace(low, high if high > low else low + 1, bins + 1).numpy()
        for number, (name, values) in enumerate(sets.items()):
            finite = values[values.isfinite()].double().clamp(edges[0], edges[-1]).numpy()
            weights = [1 / max(1, len(values))] * len(finite)
            look: dict[str, Any] = {"color": f"C{number}", "weights": weights, "bins": edges}
            place.hist(finite, alpha=0.35, **look)
            place.hist(finite, histtype="step", label=name, **look)
        lost = len(every) - len(known)
        place.set_title(title + (f" ({lost} not finite)" if lost else ""), fontsize=9)
        place.set_yticks([])
        place.tick_params(labelsize=7)
        place.locator_params(axis="x", nbins=5)
        place.spines[["top", "right", "left"]].set_visible(False)
    for place in axes[len(panels) :]:
        place.set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure_png(figure)


CELLS = 160  # a side of the grid on which densities are drawn
PANEL = 2.6  # inches
DPI = 100
HATCH: dict[str, Any] = {"facecolor": "#fcf0ee", "edgecolor": "#cd4637", "hatch": "////"}

Panel = tuple[str, Tensor | Callable[[Tensor], Tensor]]
"""A title, and what is drawn below it: points (N, 2), or a function from points to ln p, (N,)."""


def plane_image(panels: Sequence[Panel], half_side: float) -> Image:
    """Draw panels side by side, each of the square [−half_side, half_side]².

    Densities are drawn as √p, each panel scaled by itself: thin bridges then show beside modes.
    What is not finite cannot be drawn: the title counts such points, and such cells are hatched.
    The picture says where its panels lie, see `glowkit.pictures.layout.taken_apart`.

    >>> ring = torch.randn(50, 2)
    >>> plane_image([("samples", ring), ("p", lambda x: -x.square().sum(1))], 3.0).size
    (520, 260)
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    size = (PANEL * len(panels), PANEL)
    figure = Figure(size, dpi=DPI, layout="constrained")
    window = (-half_side, half_side)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    titles = []
    for axes, (title, content) in zip(row, panels, strict=True):
        axes.set(xlim=window, ylim=window, xticks=[], yticks=[], aspect="equal")
        if isinstance(content, Tensor):
            lost = int((~finite_examples(content)).sum())
            title += f", {lost} of {len(content)} not finite" if lost else ""
            axes.plot(*content.T.cpu().numpy(), ",", color="#20407f", alpha=0.6)
        else:
            below = Rectangle((-half_side, -half_side), *[2 * half_side] * 2, zorder=-1, **HATCH)
            axes.add_patch(below)  # and images are drawn below patches, if nothing says otherwise
            axes.imshow(_root(content, half_side), origin="lower", extent=window * 2, cmap="magma")
        axes.set_title(title, fontsize=9)
        titles.append(title)
    drawn = figure_image(figure)
    places = []
    for axes, title in zip(row, titles, strict=True):
        x0, y0, x1, y1 = (round(float(edge)) for edge in axes.get_window_extent().extents)
        # Within the frame, a line of which would be left on some sides.
        corner, size = (x0 + 2, drawn.height - y1 + 2), (x1 - x0 - 4, y1 - y0 - 4)
        places.append(Place(title, [corner], size))
    return with_layout(drawn, places)


@torch.no_grad()
def _root(log_p: Callable[[Tensor], Tensor], half_side: float) -> object:
    """√p on a square grid, 1 at its highest, NaN where log p is NaN or +∞."""
    axis = half_side * ((2 * torch.arange(CELLS) + 1) / CELLS - 1)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    values = log_p(torch.stack([x.flatten(), y.flatten()], dim=1)).cpu()
    values = values.masked_fill(values == torch.inf, torch.nan)
    finite = values[values.isfinite()]
    highest = finite.max() if len(finite) else 0.0
    return ((values - highest) / 2).exp().view(CELLS, CELLS).numpy()


DRAWS = 8  # of a bound, at every point of a picture: one alone makes it grainy


def density_panel(model: Density) -> Panel:
    """The density of a model of points in the plane; of a bound, the mean of several draws."""
    count = DRAWS if model.log_p_kind == "bound" else 1

    def log_p(points: Tensor) -> Tensor:
        generator = torch.Generator(model.anchor.device).manual_seed(0)
        draws = [model.log_prob(points.to(model.anchor), None, generator) for _ in range(count)]
        return torch.stack(draws).logsumexp(0) - math.log(count)

    return "density", log_p


def save_gif(frames: Sequence[Path], path: Path, seconds: float = 6.0) -> None:
    """Join pictures to an animation that takes `seconds`, stays on the last one, and repeats.

    Raises GlowkitError, naming the path and the reason, when it cannot be written.
    """
    from PIL import Image

    pictures = []
    for frame in frames:
        with Image.open(frame, formats=("PNG",)) as picture:
            pictures.append(picture.quantize(32, dither=Image.Dither.NONE))  # dithering is bulk
    each = max(60, round(1000 * seconds / len(pictures)))
    write_gif(pictures, [*[each] * (len(pictures) - 1), 2000], path)
