"""`glowkit lossy train`: from a run of likelihood to one whose model codes with loss."""

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glowkit.cli import completion
from glowkit.cli.common import (
    DEVICE,
    JSON,
    NO_KERNELS,
    OWN,
    SEED,
    check_run_out,
    refuse_given,
    show_json,
)
from glowkit.cli.lossy import COARSEST, FINEST, SHOWN_IMAGES
from glowkit.cli.opened import Opened, open_image_model, prepared
from glowkit.cli.speech import QUIET, hint, show, warn
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from glowkit.tasks.lossy import LossySettings
    from glowkit.training import TrainConfig

UNIT_IMAGES = 512
MINUTES = 20.0
USUAL: dict[str, Any] = {
    "batch_size": 32,
    "learning_rate": 3e-3,
    "clip_norm": 1.0,
    "warmup_steps": 50,
}
LEAST_STEP = 0.25
"""In levels: a finer one changes no pixel."""


def train(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN", help="A run, trained for its likelihood.", autocompletion=completion.runs
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes (default 20).")] = None,
    epochs: Annotated[float | None, typer.Option(help="Budget in passes over the data.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN2", help="Folder of the new run.")] = None,
    finest: Annotated[
        float | None, typer.Option(help="Finest step in pixel levels, by default 1 of 256.")
    ] = None,
    coarsest: Annotated[
        float | None, typer.Option(help="Coarsest step in pixel levels, by default 32 of 256.")
    ] = None,
    round_trip: Annotated[
        float | None,
        typer.Option(
            help="Weight of what rounding to pixels moves latents by, by default 0; the validation"
            " figure, by which weights are kept, does not count it."
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step (32).")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its peak (0.003).")] = None,
    seed: Annotated[int | None, SEED] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Train a run on, for coding with loss: bits and squared error instead of likelihood.

    The new run's model is for `lossy compress`; as a model of likelihood it is worse than before.
    Ctrl-C saves; `glowkit lossy train --resume --out RUN2` goes on.

    Example: `glowkit lossy train runs/photos --minutes 20 --out runs/photos-lossy`
    """
    if out is None:
        raise GlowkitError("name the folder of the new run with --out")
    check_run_out(out)
    if resume:
        if run is not None:
            raise GlowkitError(f"a resumed run keeps its model: leave {run} out")
        kept: dict[str, object] = {"finest": finest, "coarsest": coarsest, "seed": seed}
        kept |= {"batch_size": batch_size, "learning_rate": learning_rate}
        kept |= {"round_trip": round_trip}
        refuse_given("a resumed run keeps its settings", **kept)
    elif run is None:
        raise GlowkitError("name the RUN to train on, for example: glowkit lossy train RUN")

    from glowkit.training import TrainConfig
    from glowkit.training import train as run_training

    budget: dict[str, Any] = {"minutes": minutes, "epochs": epochs}
    asked = minutes is not None or epochs is not None
    if resume:
        opened, settings, config = _resumed(out, budget if asked else {})
    else:
        assert run is not None
        opened = open_image_model(run, "cpu")
        if opened.run is None:
            raise GlowkitError(f"{run} is a model without a run, and so without data to train on")
        given = {"batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
        given = {name: value for name, value in given.items() if value is not None}
        budget = budget if asked else {"minutes": MINUTES}
        config = TrainConfig(**{**USUAL, **budget, **given})
        settings = _settings(opened, finest, coarsest, round_trip)
    source = opened.own_data
    opened.at_rest.close()  # a frozen model does not learn
    _say_of_couplings(opened)
    result = run_training(
        source,
        opened.model,
        config,
        out,
        resume,
        data=opened.run.data if opened.run else None,
        lossy=settings,
        accelerator=device,
        devices=1,
        quiet=quiet,
    )
    if result.interrupted:
        warn(
            f"glowkit: interrupted; saved at step {result.step}."
            f" Go on with: glowkit lossy train --resume --out {out}"
        )
        raise typer.Exit(130)
    trained = open_image_model(out, "cpu")
    points = _points(trained, settings)
    if as_json:
        about = {"run": str(out), "step": result.step, "minutes": result.elapsed_seconds / 60}
        loss = {"validation_rate_distortion": result.best_figure}
        skipped = {"skipped_steps": result.skipped_steps, "model_path": str(out / "model")}
        own_settings = {field.name: getattr(settings, field.name) for field in fields(settings)}
        show_json(about | loss | skipped | own_settings | {"points": points})
        return
    text = {
        "trained": f"{result.step} steps, {result.elapsed_seconds / 60:.1f} minutes",
        "validation loss": f"{result.best_figure:.4f} bits/dim (best, kept)",
    }
    for point in points:
        name = f"step {point['step']:g}"
        text[name] = f"{point['psnr']:.2f} dB, {point['bits_per_pixel']:.3f} bits/pixel"
    show(f"{out}, {points[0]['images']} images of the test split", text)
    hint(f"next:    glowkit lossy compress {out} test:0-99")


def _settings(
    opened: Opened, finest: float | None, coarsest: float | None, round_trip: float | None
) -> "LossySettings":
    """What is asked for, else that of a run that was trained for coding; and the unit."""
    from glowkit.tasks.lossy import LossySettings, check_lossy, unit_of

    check_lossy(opened.model)
    levels, known = opened.pixel_levels, opened.run.lossy if opened.run else None
    given = {"finest": finest, "coarsest": coarsest, "round_trip": round_trip}
    asked = {name: float(value) for name, value in given.items() if value is not None}
    if known is not None:
        return replace(known, **asked)
    data = opened.own_data
    images = data.splits["train"]
    rows = range(0, len(images), max(1, len(images) // UNIT_IMAGES))[:UNIT_IMAGES]
    unit = unit_of(opened.model, *prepared(opened, data, images, rows))
    usual = {"finest": max(LEAST_STEP, levels * FINEST), "coarsest": levels * COARSEST}
    return LossySettings(unit, **(usual | asked))


def _resumed(out: Path, budget: dict[str, Any]) -> "tuple[Opened, LossySettings, TrainConfig]":
    """The model's shape, the settings and the config of a run that goes on."""
    import torch

    from glowkit.models import build
    from glowkit.training import read_run

    found = read_run(out)
    if found.lossy is None or found.model is None:
        raise GlowkitError(
            f"{out} is no run of glowkit lossy train; go on with it by glowkit train --resume"
        )
    opened = Opened(build(found.model), torch.device("cpu"), found, out)
    return opened, found.lossy, replace(found.training, **budget)


def _say_of_couplings(opened: Opened) -> None:
    from glowkit.bijections import LogisticMixture

    if any(isinstance(part, LogisticMixture) for part in opened.model.modules()):
        warn(
            "note: mixture couplings are inverted by iteration, and take many times as long to"
            " train for coding as affine ones"
        )


def _points(opened: Opened, settings: "LossySettings") -> list[dict[str, float]]:
    """Rate and PSNR of some test images at the finest, a middle and the coarsest step."""
    from glowkit.tasks.lossy.container import compressed, psnr

    images = opened.own_data.splits["test"]
    rows = range(min(SHOWN_IMAGES, len(images)))
    batch, context = prepared(opened, opened.own_data, images, rows)
    points = []
    for step in (settings.finest, (settings.finest * settings.coarsest) ** 0.5, settings.coarsest):
        made = compressed(opened.model, batch, step * settings.unit, context, search=False)
        rate = made.ideal_bits / (batch.numel() // batch.shape[1])
        found = psnr(batch, made.images, opened.pixel_levels)
        points.append({"step": step, "psnr": found, "bits_per_pixel": rate, "images": len(batch)})
    return points
