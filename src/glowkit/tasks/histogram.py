"""How bits/dim are spread over images, as a picture."""

import io
from collections.abc import Mapping

from torch import Tensor


def histogram(bits: Tensor, marks: Mapping[str, float]) -> bytes:
    """A PNG of the histogram of bits/dim, (N,), with a dashed line at each of `marks` by its name.

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
    axes.hist(bits.numpy(), bins="sqrt")
    for number, (name, value) in enumerate(marks.items()):
        axes.axvline(value, color=f"C{number + 1}", linestyle="--", label=name)
    axes.legend(frameon=False)
    axes.set(xlabel="bits/dim", ylabel="images")
    axes.spines[["top", "right"]].set_visible(False)
    drawn = io.BytesIO()
    canvas.print_png(drawn)
    return drawn.getvalue()
