"""`glowkit train`: from data to a run folder."""

import os
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glowkit.cli import train_options as options
from glowkit.cli.common import DEVICE, JSON, NO_KERNELS, SEED, show_json
from glowkit.cli.speech import QUIET, hint, say, show, sparkline, warn
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from glowkit.cli.plan import Planned
    from glowkit.data import AnySource
    from glowkit.models import Config


FEW_ROWS = 2000


def train(
    source: Annotated[str | None, options.SOURCE] = None,
    preset: Annotated[str | None, options.PRESET] = None,
    own: Annotated[str | None, options.OWN_CLASS] = None,
    config: Annotated[Path | None, options.CONFIG] = None,
    settings: Annotated[list[str] | None, options.SET] = None,
    precision: Annotated[str | None, options.PRECISION] = None,
    conditional: Annotated[bool, options.CONDITIONAL] = False,
    epochs: Annotated[float | None, options.EPOCHS] = None,
    minutes: Annotated[float | None, options.MINUTES] = None,
    size: Annotated[int | None, options.SIZE] = None,
    channels: Annotated[int | None, options.CHANNELS] = None,
    skip_bad: Annotated[bool, options.SKIP_BAD] = False,
    target: Annotated[str | None, options.TARGET] = None,
    context: Annotated[str | None, options.CONTEXT] = None,
    batch_size: Annotated[int | None, options.BATCH_SIZE] = None,
    learning_rate: Annotated[float | None, options.LEARNING_RATE] = None,
    optimizer: Annotated[str | None, options.OPTIMIZER] = None,
    warmup_steps: Annotated[int | None, options.WARMUP_STEPS] = None,
    weight_decay: Annotated[float | None, options.WEIGHT_DECAY] = None,
    beta2: Annotated[float | None, options.BETA2] = None,
    clip_norm: Annotated[float | None, options.CLIP_NORM] = None,
    ema_decay: Annotated[float | None, options.EMA_DECAY] = None,
    evaluate_every: Annotated[float | None, options.EVALUATE_EVERY] = None,
    whole_evaluations: Annotated[bool | None, options.WHOLE_EVALUATIONS] = None,
    perturb: Annotated[float | None, options.PERTURB] = None,
    noise: Annotated[float | None, options.NOISE] = None,
    seed: Annotated[int | None, SEED] = None,
    out: Annotated[Path | None, options.OUT] = None,
    resume: Annotated[bool, options.RESUME] = False,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    devices: Annotated[str | None, options.DEVICES] = None,
    nodes: Annotated[int | None, options.NODES] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Train a model, keep the best weights, and write curves, samples and a report.

    Ctrl-C saves; `glowkit train --resume --out RUN` goes on.

    Example: `glowkit train photos/ --size 64 --preset glow-imagenet64 --epochs 20`
    """
    given = locals()  # those of training are called as the fields of TrainConfig

    from glowkit.cli.common import check_run_out
    from glowkit.cli.evaluate import assess, baseline_figures, figures_text
    from glowkit.cli.opened import open_model
    from glowkit.cli.plan import Request, free_folder, plan
    from glowkit.cli.reporting import report_of
    from glowkit.data import open_source
    from glowkit.models import count_parameters
    from glowkit.training import RunFolder, TrainConfig, read_run
    from glowkit.training import train as run_training
    from glowkit.training.allowance import allowance, number_of

    changes = {field.name: given[field.name] for field in fields(TrainConfig)}
    pictures = {"size": size, "channels": channels, "skip_bad": skip_bad or None}
    data = {**pictures, "target": target, "context": context}
    request = Request(source, preset, own, config, settings or [], conditional, changes, data)
    if resume and out is None:
        raise GlowkitError("--resume needs to know which run: give its folder with --out")
    check_run_out(out)
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if "TORCHELASTIC_RUN_ID" in os.environ and (devices or nodes):
        raise GlowkitError(
            "torchrun says how many processes there are: leave out --devices, --nodes"
        )
    if out is None and ((devices or "1") != "1" or max(nodes or 1, launched) > 1):
        raise GlowkitError("several processes must share one run folder: name it with --out")
    planned = plan(request, out if resume else None)
    if resume and out is not None and read_run(out).lossy:
        raise GlowkitError(
            f"{out} was trained for coding with loss; go on with it by glowkit lossy train --resume"
        )
    only = read_run(out).only if resume and out is not None else None
    images = open_source(**planned.data, levels=planned.levels, only=only)
    for note in images.notes:
        warn(f"note: {note}")
    model = planned.model_for(images)
    held = len(images.splits["train"])
    if planned.training.batch_size > held:
        warn(f"note: a batch of {planned.training.batch_size} is all of the {held} there are")
    if images.things == "rows" and held < FEW_ROWS and not (resume or config):
        # The best weights come early and soon are past: every evaluation that was asked for counts.
        often = planned.training.minutes is not None
        planned = replace(planned, training=replace(planned.training, whole_evaluations=often))
    if images.things == "rows" and held < FEW_ROWS and not planned.training.noise:
        warn(f"note: {held} rows are soon learned by heart; --noise 0.2 works against that")
    if not as_json:
        hint(_opening(planned, images, model, device, devices, nodes))
    folder = out or free_folder(planned.name)
    result = run_training(
        images,
        model,
        planned.training,
        folder,
        resume,
        data=planned.data,
        accelerator=device,
        devices=int(devices) if devices and devices.isdecimal() else devices or 1,
        num_nodes=nodes or 1,
        quiet=quiet,
    )
    if result.interrupted:
        warn(
            f"glowkit: interrupted; saved at step {result.step}."
            f" Go on with: glowkit train --resume --out {folder}{planned.family.option}"
        )
        raise typer.Exit(130)
    if result.rank:
        return
    ended = time.monotonic()
    opened = open_model(folder)
    fitted = baseline_figures(opened, images, "test", 0)
    objective = opened.objective
    batch = objective.batch_after(planned.training.batch_size)
    left = allowance(planned.training) - result.aside_seconds - (time.monotonic() - ended)
    figures = assess(opened, images, "test", 1, batch, 0, left)
    things = objective.things
    validated = {things: result.validation_examples, f"{things}_in_split": result.validation_split}
    report = report_of(
        opened, images.name, "test", figures, fitted, validated=validated, resumed=resume
    )
    if as_json:
        show_json(
            figures
            | {
                "run": str(folder),
                "data": images.name,
                "preset": planned.preset,
                "parameters": count_parameters(model),
                "seed": planned.training.seed,
                "split": "test",
                "step": result.step,
                "epochs": result.epochs,
                "minutes": result.elapsed_seconds / 60,
                f"{things}_per_second": result.images_per_second,
                "skipped_steps": result.skipped_steps,
                f"validation_{objective.figure}": result.best_figure,
                **{f"validation_{name}": value for name, value in validated.items()},
                "model_path": str(folder / "model"),
                "samples_path": str(folder / "samples"),
                "metrics_path": str(folder / "metrics.csv"),
                "report_path": str(report),
                "baselines": dict(fitted),
            }
        )
        return
    from glowkit.tasks.likelihood import sign_of

    sign = sign_of(opened.model)
    trained = {
        "trained": f"{result.step} steps, {result.epochs:.1f} epochs,"
        f" {result.elapsed_seconds / 60:.1f} minutes,"
        f" {result.images_per_second:.0f} {things}/s",
        "skipped steps": str(result.skipped_steps),
        f"validation {objective.unit}": f"{sign} {result.best_figure:.4f} (best, kept),"
        f" of {number_of(validated, things)} {things}"
        + (f", perturbed at {rate:g}" if (rate := planned.training.perturb) else ""),
        **_curve(RunFolder(folder).metrics, f"validation_{objective.figure}"),
    }
    show(
        f"{folder} on the test split of {images.name}",
        trained | figures_text(opened, figures, fitted),
    )
    for name, path in {"model": "model", "samples": "samples"}.items():
        say(f"{name + ':':<8} {folder / path}")
    say(f"report:  {report}")
    hint(f"next:    glowkit sample {folder}{planned.family.option}")


def _curve(metrics: Path, column: str) -> dict[str, str]:
    """The figures of all evaluations in a line, where there are some."""
    from glowkit.training.metrics import read_rows

    values = [float(row[column]) for row in read_rows(metrics) if row.get(column)]
    if len(values) < 2:
        return {}
    return {"its curve": f"{values[0]:.4f} {sparkline(values)} {values[-1]:.4f}"}


def _opening(
    planned: "Planned",
    data: "AnySource",
    model: "Config",
    device: str,
    devices: str | None,
    nodes: int | None,
) -> str:
    """Data, model, parameters, device and budget in a line."""
    import torch

    from glowkit.models import count_parameters, to_settings

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    places = f"{devices or 1} x {nodes} x " if nodes else f"{devices} x " if devices else ""
    shape = getattr(model, "image_shape", None)
    columns = len(getattr(data, "columns", ()))
    given = len(getattr(data, "context_columns", ()))
    training = planned.training
    budget = f"{training.minutes:g} minutes" if training.minutes else f"{training.epochs:g} epochs"
    return "; ".join(
        [
            f"{data.name}, {len(data.splits['train']):,} {data.things}"
            + (f" of {'x'.join(map(str, shape))}" if shape else "")
            + (f" of {columns} column(s)" if columns else "")
            + (f" given {given}" if given else ""),
            f"{planned.preset or to_settings(model)['family']},"
            f" {count_parameters(model):,} parameters",
            places + device,
            budget,
        ]
    )
