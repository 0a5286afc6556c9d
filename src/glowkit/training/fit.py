"""train: everything between a request and a finished run."""

import io
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from rich.console import Console

from glowkit.bijections.standardize import scale_of
from glowkit.core.chain import fall_back
from glowkit.core.density import Density
from glowkit.core.initialization import initialize, is_data_dependent
from glowkit.data.table import AnySource, TableSource
from glowkit.models.families import Config, build
from glowkit.nets.fast import multiply_exactly, precision_nets
from glowkit.system.errors import GlowkitError
from glowkit.tasks.lossy import LossySettings
from glowkit.training.allowance import allowance, for_initialization
from glowkit.training.batches import (
    INITIALIZATION,
    Preparation,
    Split,
    mixed_seed,
    permutation,
    plan_epochs,
)
from glowkit.training.companions import Companions, Interruption
from glowkit.training.config import TrainConfig
from glowkit.training.loop import Training, train_loop
from glowkit.training.metrics import Report, open_loggers
from glowkit.training.objective import objective_of
from glowkit.training.of_lossy import LossyImages
from glowkit.training.run import RunFolder, check_run, only_trainer, read_run, write_settings
from glowkit.training.state import Plan, RunState, resume_point

# Fabric's remarks go to the logger of whichever was imported last.
_LOGGERS = ("lightning.fabric", "lightning.pytorch")


@contextmanager
def quiet_fabric() -> Iterator[None]:
    """Warnings and errors of Lightning's still come through."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def make_fabric(accelerator: str, devices: int | str, num_nodes: int) -> Fabric:
    """Lightning's view of this process: its device, its rank, and how gradients are averaged."""
    if torch.distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        num_nodes = int(os.environ["WORLD_SIZE"]) // devices
    multiply_exactly()
    if accelerator == "auto":  # never Apple's, which lacks the float64 of 1x1 matrices
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes)
    except (MisconfigurationException, RuntimeError, ValueError, TypeError) as error:
        raise GlowkitError(
            f"{devices} device(s) of kind {accelerator!r} on {num_nodes} host(s) cannot be used"
            " here; try --device cpu --devices 1"
        ) from error


def check_precision(model: Density, precision: str | None) -> None:
    """Refuse a precision that no part of the model would compute in."""
    if precision and not precision_nets(model):
        raise GlowkitError(
            f"no conditioner of this model computes in {precision}; leave out --precision"
        )


def check_perturbation(model: Density, probability: float) -> None:
    """Refuse to replace values by levels where there are none."""
    if probability and model.levels is None:
        raise GlowkitError(
            "values are perturbed by drawing another of their levels, and this model's are"
            " continuous: leave out --perturb"
        )


def check_noise(model: Density, deviation: float) -> None:
    """Refuse noise in the deviations of columns where there are none."""
    if deviation and scale_of(model) is None:
        raise GlowkitError(
            "noise is added in the deviations of a table's columns, and this model standardises"
            " none: leave out --noise"
        )


# Activations of the widest presets on this many pixels take about a quarter of a gigabyte.
_INITIALIZATION_PIXELS = 2**19
_INITIALIZATION_IMAGES = range(8, 512)
_INITIALIZATION_IMAGES_A_MINUTE = 128
"""Of a budget in minutes: what a layer learns from more is not worth the time of a step."""


class _OutOfTime(Exception):
    """Ends a pass between two layers."""


@contextmanager
def _ended_after(model: Density, seconds: float) -> Iterator[None]:
    """Raises _OutOfTime from a pass that comes to a data-dependent layer later than that."""
    begun = time.monotonic()

    def look(*_: object) -> None:
        if time.monotonic() - begun > seconds:
            raise _OutOfTime

    layers = [module for module in model.modules() if is_data_dependent(module)]
    handles = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def initialize_from(
    model: Density,
    split: Split,
    prepare: Preparation,
    seed: int,
    most: float = math.inf,
    seconds: float = math.inf,
) -> None:
    """Initialise data-dependent layers from some of the training data, alike on every rank.

    (Under DDP, rank 0's parameters and buffers are what every rank starts from anyway.)

    most: examples. seconds: about half of the time it may take: when they are over, the layers that
    are left see a quarter of the examples, for half as long, and so on.
    """
    rows = permutation(len(split), INITIALIZATION, seed)
    pixels = prepare(split.__getitems__(rows[:1]))[0][0, 0].numel()  # 1 of a point
    limits = _INITIALIZATION_IMAGES
    count = max(limits.start, min(limits.stop, _INITIALIZATION_PIXELS // pixels))
    count = max(limits.start, int(min(count, most)))
    while True:
        chosen = rows[:count]
        if len(chosen) == 1:  # the one image of a set of three, whose noise still differs
            chosen = chosen.repeat(2)
        x, context = prepare(split.__getitems__(chosen))
        generator = torch.Generator().manual_seed(mixed_seed(INITIALIZATION, seed))
        try:
            with _ended_after(model, seconds if count > limits.start else math.inf):
                initialize(model, x, context, generator)
            return
        except _OutOfTime:
            count, seconds = max(limits.start, count // 4), seconds / 2


@dataclass(frozen=True)
class TrainResult:
    """The figures of a run.

    best_figure: on the validation split, bits/dim of images or nats of points, of the weights in
        `run`/model; infinite before the first evaluation.
    step, epochs, elapsed_seconds: over all resumptions; the saved ones when interrupted.
    aside_seconds: of initialisation and evaluations, over all resumptions.
    validation_examples: how many `best_figure` is of; validation_split: of how many.
    images_per_second: of this process, evaluations left out.
    rank: of this process; rank 0 wrote the run folder.
    interrupted: whether Ctrl-C or SIGTERM ended it; `run` is saved and resumes.
    """

    run: Path
    best_figure: float
    step: int
    epochs: float
    elapsed_seconds: float
    aside_seconds: float
    validation_examples: int
    validation_split: int
    images_per_second: float
    skipped_steps: int
    rank: int
    interrupted: bool


def train(
    source: AnySource,
    model: Config | Density,
    train_config: TrainConfig,
    run: str | Path,
    resume: bool = False,
    *,
    data: Mapping[str, Any] | None = None,
    lossy: LossySettings | None = None,
    accelerator: str = "auto",
    devices: int | str = "auto",
    num_nodes: int = 1,
    quiet: bool = False,
) -> TrainResult:
    """Train a model into a run folder, or go on with the run that is there.

    model: a config, of which a model with fresh weights is built; or a density, which says itself
        what it is of: shape, levels and classes. It is trained in place from the weights it has,
        and ends with those of the last step; the best, averaged ones are in the run.
    resume: go on from checkpoints/last.ckpt; the data, the order and the noise of the steps are
        those of an uninterrupted run. A larger budget than the run's own is taken up.
    data: the arguments of `open_source` that made the source, kept in config.yaml; by default
        `{"spec": source.name}`.
    lossy: train for coding images with loss instead of for their likelihood. A run that was begun
        so is resumed so.
    accelerator, devices, num_nodes: as Lightning's Fabric takes them; under torchrun its own
        numbers count. Hosts must share the run folder.
    quiet: report nothing on stderr.

    Ctrl-C and SIGTERM save and return with `interrupted`. Raises GlowkitError for what cannot be
    trained, saved or resumed, for a run that another process is training, and after 50 steps in a
    row without a finite gradient.
    """
    folder, config = RunFolder(Path(run)), model.config if isinstance(model, Density) else model
    with (
        quiet_fabric(),
        Interruption() as interruption,
        torch.random.fork_rng(devices=[]),
        ExitStack() as held,
    ):
        fabric = make_fabric(accelerator, devices, num_nodes)
        first = fabric.is_global_zero
        lock = None
        if first:
            if resume:
                lossy = read_run(folder.path).lossy  # before a folder is made for the lock
            lock = held.enter_context(only_trainer(folder))
            check_run(folder, config, resume)
        split: Split = source.splits["train"]
        plan = Plan(
            train_config,
            plan_epochs(len(split), train_config.batch_size, train_config.seed),
        )
        torch.manual_seed(mixed_seed(INITIALIZATION, train_config.seed))
        model = model if isinstance(model, Density) else build(model)
        subject = LossyImages(lossy) if lossy else objective_of(model, source)
        prepare = subject.prepare(source, model)
        check_precision(model, train_config.precision)
        check_perturbation(model, train_config.perturb)
        check_noise(model, train_config.noise)
        resumed = resume_point(folder, plan, model) if resume else None
        if resumed is None:
            begun, most = time.monotonic(), math.inf
            if math.isfinite(allowance(train_config)):
                most = _INITIALIZATION_IMAGES_A_MINUTE * (train_config.minutes or math.inf)
            seconds = for_initialization(train_config)
            subject.settle(model, split)
            initialize_from(model, split, prepare, train_config.seed, most, seconds)
            state = RunState(aside=time.monotonic() - begun)
        else:
            state = resumed.state
        table = source if isinstance(source, TableSource) else None
        if first:
            write_settings(
                folder.path,
                data or {"spec": source.name},
                config,
                train_config,
                source.class_names if model.classes else (),
                table.columns if table else (),
                table.context_columns if table else (),
                lossy,
            )
        rows = open_loggers(folder, state, subject.columns)
        loggers = held.enter_context(rows) if first else []
        console = Console(stderr=True) if first and not quiet else Console(file=io.StringIO())
        report = Report(console, subject, subject.sign(model))
        for reason in fall_back(model.train()):
            report.note(f"note: {reason}")
        if lock is not None and not lock.kept:
            report.note(
                f"note: the file system of {folder.path} has no locks, so nothing keeps a second"
                " process from training there too"
            )
        with Companions(folder.path).together(fabric), report:
            training = Training(
                fabric,
                folder,
                model,
                subject,
                plan,
                state,
                source.splits,
                prepare,
                report,
                loggers,
                interruption,
                resumed,
            )
            resumed = None  # release memory
            train_loop(training)
        if first:
            subject.finish(folder)
    if not training.interrupted and not math.isfinite(state.best_figure):
        raise GlowkitError(
            f"no evaluation gave finite {subject.unit}, so no model was kept; try a lower "
            "--learning-rate or a longer warm-up"
        )
    validation = len(source.splits["validation"])
    return TrainResult(
        folder.path,
        state.best_figure,
        training.saved_step if training.interrupted else state.step,
        plan.epoch(state),
        state.elapsed,
        state.aside,
        state.evaluated_examples or validation,
        validation,
        training.trained_steps * plan.epochs.batch_size / (training.trained_seconds or math.nan),
        state.skipped_steps,
        fabric.global_rank,
        training.interrupted,
    )
