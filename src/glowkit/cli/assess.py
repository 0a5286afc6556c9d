"""The figures of a model on a split."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from glowkit.cli.common import Opened, say_number, say_unknown, split_batches
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from glowkit.data import PointSource, Source
    from glowkit.training.batches import Batch


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

    generator = torch.Generator(opened.device).manual_seed(seed)
    batches = split_batches(opened, data, split, batch_size)
    figures = opened.objective.evaluate(opened.model, data, batches, importance, generator)
    say_figures(opened, figures)
    return figures


def say_figures(opened: Opened, figures: Mapping[str, Any]) -> None:
    """Tell the user what the figures of an evaluation, by their plain names, leave out."""
    from glowkit.tasks.evaluation import REMEDY

    things = opened.objective.things
    total = figures[things]
    say_number(figures[f"broken_{things}"], total, REMEDY, UNDECODED, things)
    say_unknown(figures[f"not_finite_{things}"], total, things)


def classified(
    opened: Opened, data: "Source | PointSource", split: str, batch_size: int, seed: int
) -> dict[str, Any]:
    """How well a conditional model tells the classes of a split, by the figures' plain names."""
    from glowkit.tasks.classification import classify

    if not opened.model.classes:
        raise GlowkitError("this model has no classes; leave out --classify")
    told = asdict(classify(opened.model, split_batches(opened, data, split, batch_size), seed))
    return {name: value for name, value in told.items() if value is not None}


def baseline_figures(
    opened: Opened, data: "Source | PointSource", split: str, seed: int, asked: bool = False
) -> dict[str, float]:
    """Figures of simple models of the same data, where they are cheap or `asked` for."""

    def batches(name: str) -> "Iterator[Batch]":
        return split_batches(opened, data, name, 1000)

    return opened.objective.baselines(opened.model, data, batches, split, seed, asked)


def figures_text(
    opened: Opened, figures: Mapping[str, Any], baselines: Mapping[str, float]
) -> dict[str, str]:
    """Figures and baselines as a person reads them."""
    text = opened.objective.text(figures)
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
