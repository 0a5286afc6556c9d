"""train: everything between a request and a finished run."""

import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console

from glowkit.core.chain import fall_back
from glowkit.data.source import Source
from glowkit.data.toy import PointSource
from glowkit.models.build import build
from glowkit.models.presets import Config
from glowkit.system.errors import GlowkitError
from glowkit.training.batches import INITIALIZATION, Split, mixed_seed, plan_epochs, preparation
from glowkit.training.companions import Companions
from glowkit.training.conductor import Conductor
from glowkit.training.config import TrainConfig
from glowkit.training.interrupt import Interruption
from glowkit.training.metrics import MetricsFile
from glowkit.training.module import FlowModule
from glowkit.training.objective import subject_of
from glowkit.training.progress import Report
from glowkit.training.run import RunFolder, only_trainer, read_run, write_settings
from glowkit.training.start import (
    check_precision,
    check_run,
    initialize_from,
    make_tensorboard,
    make_trainer,
    resume_point,
)
from glowkit.training.state import Plan, RunState

# Each is about a choice made on purpose.
_REMARKS = (
    r".*does not have many workers.*",  # one process reads: images are mapped from disk
    r".*is smaller than the logging interval.*",
    r".*LeafSpec.*",  # torch deprecates what Lightning uses
    r".*functional.all_gather is deprecated.*",
)
_LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning")


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Warnings and errors of Lightning's still come through."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    with warnings.catch_warnings():
        for remark in _REMARKS:
            warnings.filterwarnings("ignore", message=remark)
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


@dataclass(frozen=True)
class TrainResult:
    """The figures of a run.

    best_figure: on the validation split, bits/dim of images or nats of points, of the weights in
        `run`/model; infinite before the first evaluation.
    step, epochs, elapsed_seconds: over all resumptions; the saved ones when interrupted.
    images_per_second: of this process, evaluations left out.
    rank: of this process; rank 0 wrote the run folder.
    interrupted: whether Ctrl-C or SIGTERM ended it; `run` is saved and resumes.
    """

    run: Path
    best_figure: float
    step: int
    epochs: float
    elapsed_seconds: float
    images_per_second: float
    skipped_steps: int
    rank: int
    interrupted: bool


def train(
    source: Source | PointSource,
    model_config: Config,
    train_config: TrainConfig,
    run: str | Path,
    resume: bool = False,
    *,
    data: Mapping[str, Any] | None = None,
    accelerator: str = "auto",
    devices: int | str = "auto",
    num_nodes: int = 1,
    quiet: bool = False,
) -> TrainResult:
    """Train a model into a run folder, or go on with the run that is there.

    resume: go on from checkpoints/last.ckpt; the data, the order and the noise of the steps are
        those of an uninterrupted run. A larger budget than the run's own is taken up.
    data: the arguments of `open_source` that made the source, kept in config.yaml; by default
        `{"spec": source.name}`.
    accelerator, devices, num_nodes: as Lightning's Trainer takes them; under torchrun its own
        numbers count. Hosts must share the run folder.
    quiet: report nothing on stderr.

    Ctrl-C and SIGTERM save and return with `interrupted`. Raises GlowkitError for what cannot be
    trained, saved or resumed, for a run that another process is training, and after 50 steps in a
    row without a finite gradient.
    """
    folder = RunFolder(Path(run))
    with (
        quiet_lightning(),
        Interruption() as interruption,
        torch.random.fork_rng(devices=[]),
        ExitStack() as held,
    ):
        trainer = make_trainer(folder, accelerator, devices, num_nodes)
        lock = None
        if trainer.is_global_zero:
            if resume:
                read_run(folder.path)  # before a folder is made for the lock
            lock = held.enter_context(only_trainer(folder))
            check_run(folder, model_config, resume)
        prepare = preparation(source, model_config)
        split: Split = source.splits["train"]
        subject = subject_of(model_config)
        plan = Plan(
            train_config,
            plan_epochs(len(split), train_config.batch_size, train_config.seed),
        )
        torch.manual_seed(mixed_seed(INITIALIZATION, train_config.seed))
        model = build(model_config)
        check_precision(model, train_config.precision)
        resumed = resume_point(folder, plan, model) if resume else None
        if resumed is None:
            initialize_from(model, split, prepare, train_config.seed)
        state = RunState() if resumed is None else resumed.state
        if trainer.is_global_zero:
            write_settings(
                folder.path,
                data or {"spec": source.name},
                model_config,
                train_config,
                () if isinstance(source, PointSource) else source.class_names,
            )
        metrics = MetricsFile(folder.metrics, state.logged_step, subject.columns)
        shown = trainer.is_global_zero and not quiet
        console = Console(stderr=True) if shown else Console(file=io.StringIO())
        report = Report(console, subject)
        for reason in fall_back(model.train()):
            report.note(f"note: {reason}")
        if lock is not None and not lock.kept:
            report.note(
                f"note: the file system of {folder.path} has no locks, so nothing keeps a second"
                " process from training there too"
            )
        conductor = Conductor(
            folder, source.splits["validation"], interruption, report, metrics, resumed
        )
        trainer.loggers = [metrics, make_tensorboard(folder, state.step)]
        companions = Companions(folder.path)
        trainer.callbacks += [companions, conductor]  # type: ignore[attr-defined]
        _fit(trainer, FlowModule(model, plan, state, split, prepare), interruption, companions)
        if trainer.is_global_zero:
            subject.finish(folder)
    if not conductor.interrupted and not math.isfinite(state.best_figure):
        raise GlowkitError(
            f"no evaluation gave finite {subject.unit}, so no model was kept; try a lower "
            "--learning-rate or a longer warm-up"
        )
    return TrainResult(
        folder.path,
        state.best_figure,
        conductor.saved_step if conductor.interrupted else state.step,
        plan.epoch(state),
        state.elapsed,
        conductor.trained_steps * plan.epochs.batch_size / (conductor.trained_seconds or math.nan),
        state.skipped_steps,
        trainer.global_rank,
        conductor.interrupted,
    )


def _fit(
    trainer: Trainer, module: FlowModule, interruption: Interruption, companions: Companions
) -> None:
    well = False
    try:
        companions.start(trainer)
        trainer.fit(module)
        well = True
    except SIGTERMException:
        # From Lightning's handler, which stood for a moment before ours; the run is saved.
        well = True
    except SystemExit:
        # Lightning's answer to the second Ctrl-C; callers know the usual one.
        if interruption.received:
            raise KeyboardInterrupt from None
        raise
    except GlowkitError:
        raise
    except Exception as error:
        lost = companions.reason()
        if lost:
            raise GlowkitError(lost) from error
        raise
    finally:
        companions.close(well)
