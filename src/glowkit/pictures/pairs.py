"""Pair plots: every two columns of a table against each other, data beside samples."""

from __future__ import annotations  # PIL's types are named without importing it

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from glowkit.core.finite import finite_examples
from glowkit.pictures.plots import figure_image

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_COLUMNS = 6
MOST_DRAWN = 2000
SIDE = 1.35  # inches of a panel
DPI = 110
DATA, SAMPLES = "#20407f", "#c4501b"
SHOWN = (0.5, 99.5)  # per cent of the data's values; an outlier would squeeze all others together


def pairs_image(names: Sequence[str], data: Tensor, samples: Tensor) -> Image:
    """Draw columns against each other: data below the diagonal, samples above, both on it.

    Every panel has the column of its row upwards and the column of its column to the right, over
    the middle 99 per cent of the data and a margin. At most 2,000 rows of either are drawn, of the
    first six columns, and the title says so. What is not finite is left out, and counted there.

    Shapes: data (N, D), samples (M, D), in the order of the D names.

    >>> pairs_image(["a", "b"], torch.randn(50, 2), torch.randn(50, 2)).size
    (330, 363)
    """
    from matplotlib.figure import Figure

    number = len(names)
    names = names[:MOST_COLUMNS]
    size = len(names)
    lost = int((~finite_examples(samples)).sum())
    ours = samples[finite_examples(samples)][:MOST_DRAWN, :size].cpu().numpy()
    theirs = data[:MOST_DRAWN, :size].cpu().numpy()
    side = max(SIDE * size + 0.3, 2.7)
    figure = Figure((side, side + 0.3), dpi=DPI)
    axes = figure.subplots(size, size, squeeze=False)
    # By hand: a layout that looks for itself takes most of the time of the picture.
    edges = {"left": 0.55 / side, "right": 1 - 0.05 / side, "bottom": 0.4 / (side + 0.3)}
    figure.subplots_adjust(**edges, top=1 - 0.4 / (side + 0.3), wspace=0.08, hspace=0.08)
    windows = [_window(theirs[:, i]) for i in range(size)]
    for row in range(size):
        for column in range(size):
            panel = axes[row, column]
            panel.set_xlim(windows[column])
            panel.tick_params(labelsize=5, length=2, pad=1)
            panel.locator_params(nbins=3)
            if row < size - 1:
                panel.set_xticklabels([])
            if column or not row:
                panel.set_yticklabels([])
            if row == column:
                bins = np.linspace(*windows[row], 31)
                for values, color in ((theirs, DATA), (ours, SAMPLES)):
                    panel.hist(values[:, row], bins, density=True, histtype="step", color=color)
                panel.set_yticks([])
            else:
                values, color = (theirs, DATA) if row > column else (ours, SAMPLES)
                panel.set_ylim(windows[row])
                panel.plot(values[:, column], values[:, row], ".", ms=1.2, color=color, alpha=0.5)
    for i, name in enumerate(names):
        axes[-1, i].set_xlabel(_short(name), fontsize=7)
        axes[i, 0].set_ylabel(_short(name), fontsize=7)
    title = "blue, below: data    red, above: samples"
    title += f" ({lost} of {len(samples)} not finite)" if lost else ""
    title += f"\nthe first {size} of {number} columns" if size < number else ""
    figure.suptitle(title, fontsize=7)
    return figure_image(figure)


def _window(values: np.ndarray) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(values, SHOWN))
    margin = 0.15 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - margin, high + margin


def _short(name: str) -> str:
    return name if len(name) <= 18 else name[:17] + "…"


def with_context(x: Tensor, context: Tensor | None) -> Tensor:
    """Columns of x, then those of its context: (N, D + C)."""
    return x if context is None else torch.cat([x, context], dim=1)
