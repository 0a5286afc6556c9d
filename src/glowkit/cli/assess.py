"""The figures of a model on a split."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from glowkit.cli.common import Opened, say_number, say_unknown, split_batches
from glowkit.cli.points import assess_points, points_text
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor

    from glowkit.data import PointSource, Source


UNDECODED = "the largest error is not known"


def assess(
    opened: Opened,
    data: "Source | PointSource",
    split: str,
    importance: int,
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    """Evaluate a model on one split of the data; the figures by their plain names."""
    import torch

    from glowkit.data import Source
    from glowkit.tasks import evaluate

    if not isinstance(data, Source):
        if importance != 1:
            raise GlowkitError("points are not dequantized: leave out --importance")
        figures = assess_points(opened, data, split, batch_size)
        say_figures(figures)
        return figures
    generator = torch.Generator(opened.device).manual_seed(seed)
    batches = split_batches(opened, data, split, batch_size)
    figures = asdict(evaluate(opened.model, batches, importance, generator))
    say_figures(figures)
    return figures


def say_figures(figures: Mapping[str, Any]) -> None:
    """Tell the user what the figures of an evaluation, by their plain names, leave out."""
    from glowkit.tasks.evaluation import REMEDY

    things = "points" if "points" in figures else "images"
    total = figures[things]
    say_number(figures[f"broken_{things}"], total, REMEDY, UNDECODED, things)
    say_unknown(figures[f"not_finite_{things}"], total, things)


def classified(
    opened: Opened, data: "Source | PointSource", split: str, batch_size: int, seed: int
) -> dict[str, Any]:
    """How well a conditional model tells the classes of a split, by the figures' plain names."""
    from glowkit.tasks.classification import classify

    if not opened.model.config.classes:
        raise GlowkitError("this model has no classes; leave out --classify")
    told = asdict(classify(opened.model, split_batches(opened, data, split, batch_size), seed))
    return {name: value for name, value in told.items() if value is not None}


def baseline_figures(
    opened: Opened, data: "Source | PointSource", split: str, seed: int, asked: bool = False
) -> dict[str, float]:
    """Bits/dim of a Gaussian and of a mixture of Gaussians, fitted to the same training images.

    None are fitted to images that are large, unless `asked`, nor to a handful of images.
    """
    import torch

    from glowkit.data import Source
    from glowkit.tasks.baselines import FEW_DIMENSIONS, gaussian_baselines

    if not isinstance(data, Source):
        if asked:
            raise GlowkitError("the baselines are for images: leave out --baselines")
        return {}
    left_out = len(data.splits["train"]) < 10 or math.prod(data.image_shape) > FEW_DIMENSIONS
    if left_out and not asked:
        return {}

    def images(name: str) -> "Tensor":
        return torch.cat([batch.cpu() for batch, _ in split_batches(opened, data, name, 1000)])

    train, asked_about = images("train"), images(split)  # which refuse a model of points
    return gaussian_baselines(train, asked_about, opened.model.config.pixel_levels, seed)


def figures_text(figures: Mapping[str, Any], baselines: Mapping[str, float]) -> dict[str, str]:
    """Figures and baselines as a person reads them."""
    if "nll_nats" in figures:
        return points_text(figures)
    bound = figures["importance_samples"]
    text = {
        "bits/dim": f"{figures['bits_per_dim']:.4f} ± {figures['standard_error']:.4f}"
        " (mean and standard error; an upper bound)",
        "importance samples": f"{bound}" + (" (one-sample bound)" if bound == 1 else ""),
        "images": str(figures["images"]),
        "pixel levels": str(figures["levels"]),
        "largest pixel error": error_text(figures["largest_pixel_error"], figures["levels"])
        + ", of decode(encode(x))",
    }
    if figures["broken_images"]:
        text["broken images"] = f"{figures['broken_images']}, of which decode(encode(x)) overflows"
    if "accuracy" in figures:
        text["accuracy"] = (
            f"{figures['accuracy']:.2%} ± {figures['accuracy_standard_error']:.2%}, of the class"
            " that makes an image likeliest"
        )
        text["without labels"] = (
            f"{figures['marginal_bits_per_dim']:.4f} ± {figures['marginal_standard_error']:.4f}"
            " bits/dim"
        )
    if "head_accuracy" in figures:
        text["classifier head"] = f"{figures['head_accuracy']:.2%} accuracy"
    return text | {f"{name} bits/dim": f"{value:.4f}" for name, value in baselines.items()}


def error_text(error: float, levels: int) -> str:
    """A largest pixel error as a person reads it."""
    return "not known" if math.isnan(error) else f"{error} of {levels - 1}"
