"""`glowkit report`: everything there is to say about a run, on one page."""

import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from glowkit.cli import completion
from glowkit.cli.common import (
    BASELINES,
    DEVICE,
    IMPORTANCE,
    JSON,
    NO_KERNELS,
    OUTPUT,
    OWN,
    SEED,
    SPLIT,
    check_page,
    show_json,
)
from glowkit.cli.opened import open_image_model, open_images
from glowkit.cli.speech import QUIET, say, show, warn
from glowkit.system.errors import GlowkitError


def report(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder.", autocompletion=completion.runs),
    ],
    split: Annotated[str, SPLIT] = "test",
    importance: Annotated[int, IMPORTANCE] = 1,
    baselines: Annotated[bool, BASELINES] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 100,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="HTML to write.",
            rich_help_panel=OUTPUT,
            show_default="RUN/report.html",
        ),
    ] = None,
    look: Annotated[
        bool, typer.Option("--open", help="Open it in a browser.", rich_help_panel=OUTPUT)
    ] = False,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Write RUN/report.html with all figures and pictures, in one file that needs no other.

    Beyond what `train` and `evaluate` write there: samples over temperatures and the training
    images nearest to them, interpolations, reconstructions, the most and the least likely images,
    and how bits/dim are spread. Beside it RUN/model-card.md, which `glowkit push` uploads.

    Example: `glowkit report runs/digits-glow-tiny --importance 16`
    """
    from glowkit.cli.evaluate import baseline_figures, figures_text, say_figures
    from glowkit.cli.gallery import gallery
    from glowkit.cli.opened import split_batches
    from glowkit.cli.reporting import report_of
    from glowkit.models.hub import address_of
    from glowkit.tasks.likelihood import check_draws
    from glowkit.training import read_run

    if out is not None:
        check_page(out)
    if address_of(run) is not None:
        raise GlowkitError(f"{run} is on the Hub, and a report is of a run folder; give that")
    read_run(run)  # a model folder has no settings or curves to report
    opened = open_image_model(run, device)
    check_draws(opened.model, importance, 1)
    data = open_images(opened, None)
    fitted = baseline_figures(opened, data, split, seed, asked=baselines)

    from glowkit.tasks.evaluation import measure, summary

    batches = split_batches(opened, data, split, batch_size)
    each = measure(opened.model, batches, importance, opened.generator(seed))
    bits, figures = each.bits, asdict(summary(opened.model, each, importance))
    figures["images_in_split"] = len(bits)
    say_figures(opened, figures)
    sections = gallery(opened, data, split, bits, importance, batch_size, seed, bool(fitted))
    broken = sum(section.broken for section in sections)
    if broken:
        warn(f"note: {broken} images of the report's pictures could not be computed; it says why")
    path = report_of(opened, data.name, split, figures, fitted, sections, out=out)
    if look and not webbrowser.open(path.resolve().as_uri()):
        warn(f"note: no browser could be opened here; {path} is the page")
    if as_json:
        about = {"run": str(run), "data": data.name, "split": split, "seed": seed}
        shown = {"broken_pictures": broken, "path": str(path), "baselines": dict(fitted)}
        show_json(figures | about | shown)
    else:
        show(f"{run} on the {split} split of {data.name}", figures_text(opened, figures, fitted))
        say(f"report: {path}")
