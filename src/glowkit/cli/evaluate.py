"""glowkit evaluate: the figures of a model on a split."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glowkit.cli.common import (
    BASELINES,
    DATA,
    DEVICE,
    DRAWS,
    IMPORTANCE,
    JSON,
    NO_KERNELS,
    OWN,
    RUN,
    SEED,
    SPLIT,
    refuse_given,
    say_number,
    say_unknown,
    show_json,
)
from glowkit.cli.opened import Opened, open_data, open_model, split_batches, split_of
from glowkit.cli.speech import QUIET, say, show
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from glowkit.data import AnySource
    from glowkit.training.batches import Batch


DECODED_AT_ONCE = 16
UNDECODED = "the largest error is not known"


def assess(
    opened: Opened,
    data: "AnySource",
    split: str,
    importance: int,
    batch_size: int,
    seed: int,
    seconds: float = math.inf,
    draws: int = 1,
) -> dict[str, Any]:
    """Evaluate a model on one split of the data; the figures by their plain names.

    seconds: how long it may take. Two thirds of them are for likelihoods, and decoding, of few
    images at a time because it can be slow, has the rest.
    """
    objective, begun = opened.objective, time.monotonic()
    batches = split_batches(opened, data, split, batch_size, begun + seconds * 2 / 3)
    again = None
    if math.isfinite(seconds):
        few = min(batch_size, DECODED_AT_ONCE)
        again = split_batches(opened, data, split, few, begun + seconds)
    noise = opened.generator(seed)
    figures = objective.evaluate(opened.model, data, batches, importance, noise, again, draws)
    figures[f"{objective.things}_in_split"] = len(split_of(data, split))
    say_figures(opened, figures)
    return figures


def say_figures(opened: Opened, figures: Mapping[str, Any]) -> None:
    """Tell the user what the figures of an evaluation, by their plain names, leave out."""
    from glowkit.tasks.evaluation import REMEDY

    things = opened.objective.things
    total = figures[things]
    decoded = figures.get(f"round_trip_{things}", total)
    say_number(figures[f"broken_{things}"], decoded, REMEDY, UNDECODED, things)
    say_unknown(figures[f"not_finite_{things}"], total, things)


def classified(
    opened: Opened, data: "AnySource", split: str, batch_size: int, seed: int
) -> dict[str, Any]:
    """How well a conditional model tells the classes of a split, by the figures' plain names."""
    from glowkit.tasks.classification import classify

    told = asdict(classify(opened.model, split_batches(opened, data, split, batch_size), seed))
    return {name: value for name, value in told.items() if value is not None}


def baseline_figures(
    opened: Opened, data: "AnySource", split: str, seed: int, asked: bool = False
) -> dict[str, float]:
    """Figures of simple models of the same data, where they are cheap or `asked` for."""

    def batches(name: str) -> "Iterator[Batch]":
        return split_batches(opened, data, name, 1000)

    return opened.objective.baselines(opened.model, data, batches, split, seed, asked)


def figures_text(
    opened: Opened, figures: Mapping[str, Any], baselines: Mapping[str, float]
) -> dict[str, str]:
    """Figures and baselines as a person reads them."""
    from glowkit.tasks.likelihood import SIGNS

    text = opened.objective.text(figures)
    if "accuracy" in figures:
        text["accuracy"] = (
            f"{figures['accuracy']:.2%} ± {figures['accuracy_standard_error']:.2%}, of the class"
            " that makes an image likeliest"
        )
        text["without labels"] = (
            f"{SIGNS[figures['kind']]} {figures['marginal_bits_per_dim']:.4f}"
            f" ± {figures['marginal_standard_error']:.4f} bits/dim"
        )
    if "head_accuracy" in figures:
        text["classifier head"] = f"{figures['head_accuracy']:.2%} accuracy"
    unit = opened.objective.unit
    return text | {f"{name} {unit}": f"{value:.4f}" for name, value in baselines.items()}


def evaluate(
    run: Annotated[Path, RUN],
    source: Annotated[str | None, DATA] = None,
    split: Annotated[str, SPLIT] = "test",
    importance: Annotated[int, IMPORTANCE] = 1,
    draws: Annotated[int, DRAWS] = 1,
    baselines: Annotated[bool, BASELINES] = False,
    tell: Annotated[
        bool,
        typer.Option(
            "--classify",
            help="Tell the classes of the images, by Bayes' rule; an evaluation for each class.",
        ),
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images (100), points or rows (4096) at a time.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Skip damaged images.")] = False,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Bits/dim of a whole split with its standard error, and the largest round-trip pixel error.

    Of points: the negative log-likelihood and the KL from the true density, in nats. Of a table:
    the negative log-likelihood, beside that of Gaussians, in nats of the columns' own units. The
    model's kind says whether a figure is exact (=), a bound (≤) or an estimate (≈).

    Example: `glowkit evaluate runs/digits-glow-tiny --importance 16`
    """
    from glowkit.cli.reporting import report_of
    from glowkit.tasks.likelihood import check_counts, check_draws

    opened = open_model(run, device)
    if source is None:
        refuse_given("the run's own data are opened as they were for training", skip_bad=skip_bad)
    batch_size = batch_size or opened.objective.batch_size
    data = open_data(opened, source, skip_bad)
    check_draws(opened.model, importance, draws)
    if tell:
        if not opened.model.classes:
            raise GlowkitError("this model has no classes; leave out --classify")
        check_counts(opened.model)
    # First, because what they refuse is known at once, and the model's figures take a while.
    fitted = baseline_figures(opened, data, split, seed, asked=baselines)
    figures = assess(opened, data, split, importance, batch_size, seed, draws=draws)
    told = classified(opened, data, split, batch_size, seed) if tell else {}
    # Shown before the report is written: a full disk must not cost the figures.
    if as_json:
        reported = opened.run is not None and source is None
        about = {
            "run": str(run),
            "data": data.name,
            "split": split,
            "seed": seed,
            "report_path": str(run / "report.html") if reported else None,
        }
        show_json(figures | told | about | {"baselines": dict(fitted)})
    else:
        show(
            f"{run} on the {split} split of {data.name}",
            figures_text(opened, figures | told, fitted),
        )
    if opened.run is not None and source is None:
        report = report_of(opened, data.name, split, figures, fitted, told=told)
        if not as_json:
            say(f"report: {report}")
