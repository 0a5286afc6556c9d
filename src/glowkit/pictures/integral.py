"""A sheet of an integral in two dimensions: the integrand, the flow as it learns it, its points."""

from __future__ import annotations  # PIL's types are named without importing it

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from glowkit.pictures.plots import figure_image

if TYPE_CHECKING:
    from PIL.Image import Image

PANEL = 2.6  # inches
DPI = 100
COLUMNS = 4


def integral_sheet(
    images: Sequence[tuple[str, Tensor]],
    points: tuple[str, Tensor],
    curve: Sequence[tuple[int, float]],
    corners: tuple[float, float, float, float],
    cmap: str = "magma",
) -> Image:
    """Draw densities on grids, points of the plane, and KL against the steps of training.

    Args:
        images: titles and values (rows, columns), the first row below; each of its own scale.
        points: a title and points (N, 2).
        curve: steps and KL in nats.
        corners: left, right, lower and upper bound of the plane.
        cmap: matplotlib's colours of the densities.

    >>> import torch
    >>> flat = torch.ones(4, 4)
    >>> integral_sheet([("f", flat)], ("points", torch.rand(9, 2)), [(1, 0.5)], (0, 1, 0, 1)).size
    (1040, 260)
    """
    from matplotlib.figure import Figure

    panels = len(images) + 1
    rows = -(-(panels + 2) // COLUMNS)  # the curve is as wide as two panels or more
    figure = Figure((PANEL * COLUMNS, PANEL * rows), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(rows, COLUMNS)
    frame: dict[str, Any] = {"xticks": [], "yticks": [], "xlim": corners[:2], "ylim": corners[2:]}
    for number in range(panels):
        axes = figure.add_subplot(grid[divmod(number, COLUMNS)])
        if number < len(images):
            title, values = images[number]
            axes.imshow(values.numpy(), origin="lower", extent=corners, cmap=cmap, aspect="auto")
        else:
            title, xy = points
            axes.plot(*xy.T.numpy(), ",", color="#20407f", alpha=0.4)
        axes.set(**frame)
        axes.set_title(title, fontsize=9)
        axes.set_box_aspect(1)
    row, column = divmod(panels, COLUMNS)
    axes = figure.add_subplot(grid[row, column:])
    axes.semilogx(*zip(*curve, strict=True), marker=".", color="#20407f")
    axes.set_title("KL(f / I ‖ q) in nats, by steps of training", fontsize=9)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=8)
    axes.yaxis.tick_right()  # on the left, numbers would push the panels above apart
    axes.spines[["top", "left"]].set_visible(False)
    return figure_image(figure)
