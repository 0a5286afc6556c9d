"""`glowkit evaluate`: how good is a model, in bits/dim, or of points in nats."""

from pathlib import Path
from typing import Annotated

import typer

from glowkit.cli.common import (
    BASELINES,
    DEVICE,
    IMPORTANCE,
    JSON,
    OWN,
    SEED,
    SPLIT,
    open_data,
    open_model,
    refuse_given,
    show_json,
)
from glowkit.cli.speech import QUIET, say, show


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run or model folder.")],
    source: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="Data; by default what the run was trained on."),
    ] = None,
    split: Annotated[str, SPLIT] = "test",
    importance: Annotated[int, IMPORTANCE] = 1,
    baselines: Annotated[bool, BASELINES] = False,
    tell: Annotated[
        bool,
        typer.Option(
            "--classify",
            help="Tell the classes of the images, by Bayes' rule; an evaluation for each class.",
        ),
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images (100) or points (4096) at a time.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Skip damaged images.")] = False,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Bits/dim of a whole split with its standard error, and the largest round-trip pixel error.

    Of points: the negative log-likelihood and the KL from the true density, in nats.

    Example: `glowkit evaluate runs/digits-glow-tiny --importance 16`
    """
    from glowkit.cli.assess import assess, baseline_figures, classified, figures_text
    from glowkit.cli.reporting import report_of

    opened = open_model(run, device)
    if source is None:
        refuse_given("the run's own data are opened as they were for training", skip_bad=skip_bad)
    batch_size = batch_size or opened.objective.batch_size
    data = open_data(opened, source, skip_bad)
    # First, because what they refuse is known at once, and the model's figures take a while.
    fitted = baseline_figures(opened, data, split, seed, asked=baselines)
    figures = assess(opened, data, split, importance, batch_size, seed)
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
