"""How bits/dim are spread over images, as a picture."""

import io
import math
from collections.abc import Mapping

from torch import Tensor


def histogram(bits: Tensor, marks: Mapping[str, float]) -> bytes:
    """A PNG of the histogram of bits/dim, (N,), with a dashed line at each of `marks` by its name.

    What is not finite cannot be drawn: the axis says how many images that are, the legend which
    marks.

    >>> import torch
    >>> histogram(torch.tensor([2.0, 2.1, 2.5]), {"mean": 2.2})[1:4]
    b'PNG'
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((5.5, 2.6), dpi=200, layout="constrained")
    canvas = FigureCanvasAgg(figure)
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
    picture = io.BytesIO()
    canvas.print_png(picture)
    return picture.getvalue()
