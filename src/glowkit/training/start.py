"""What must hold before a run starts or resumes, and the pieces it starts from."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from glowkit.core.density import Density, Generator
from glowkit.core.finite import not_finite
from glowkit.core.initialization import initialize
from glowkit.models.families import Config
from glowkit.nets.batchnorm import BatchShare, following_moments, share_batch
from glowkit.nets.fast import precision_nets, set_precision
from glowkit.system.errors import GlowkitError
from glowkit.training.batches import INITIALIZATION, Preparation, Split, mixed_seed, permutation
from glowkit.training.companions import Interruption
from glowkit.training.config import make_optimizer
from glowkit.training.metrics import MetricsFile, Report
from glowkit.training.objective import Objective, objective_of
from glowkit.training.run import RunFolder, read_run, sentences
from glowkit.training.state import (
    UPDATES,
    Checkpoint,
    Ema,
    Plan,
    RunState,
    fit_optimizer,
    read_checkpoint,
)

# Activations of the widest presets on this many pixels take about a quarter of a gigabyte.
_INITIALIZATION_PIXELS = 2**19
_INITIALIZATION_IMAGES = range(8, 512)


def check_run(folder: RunFolder, model_config: Config, resume: bool) -> None:
    """Refuse to overwrite a run, or to resume what is not one or has another model."""
    if resume:
        if read_run(folder.path).model != model_config:
            raise GlowkitError(
                f"{folder.path} is a run of another model than the one asked for; resume it with "
                "the settings in its config.yaml, or start a new run elsewhere"
            )
    elif folder.config.exists():
        raise GlowkitError(
            f"{folder.path} already holds a run; resume it with --resume, or choose another "
            "folder with --out"
        )


def check_precision(model: Density, precision: str | None) -> None:
    """Refuse a precision that no part of the model would compute in."""
    if precision and not precision_nets(model):
        raise GlowkitError(
            f"no conditioner of this model computes in {precision}; leave out --precision"
        )


def make_fabric(accelerator: str, devices: int | str, num_nodes: int) -> Fabric:
    """Lightning's view of this process: its device, its rank, and how gradients are averaged."""
    if torch.distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        num_nodes = int(os.environ["WORLD_SIZE"]) // devices
    if accelerator == "auto":  # never Apple's, which lacks the float64 of 1x1 matrices
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes)
    except (MisconfigurationException, RuntimeError, ValueError, TypeError) as error:
        raise GlowkitError(
            f"{devices} device(s) of kind {accelerator!r} on {num_nodes} host(s) cannot be used"
            " here; try --device cpu --devices 1"
        ) from error


@contextmanager
def open_loggers(
    folder: RunFolder, state: RunState, columns: Sequence[str]
) -> Iterator[list[MetricsFile | TensorBoardLogger]]:
    """metrics.csv and `tensorboard/`; rows after the state, from before a kill, do not count."""
    with sentences(folder.path):
        board = TensorBoardLogger(folder.path, "tensorboard", "", purge_step=state.step + 1)
    loggers: list[MetricsFile | TensorBoardLogger] = [
        MetricsFile(folder.metrics, state.logged_step, columns),
        board,
    ]
    try:
        yield loggers
    finally:
        with sentences(folder.path):
            for logger in loggers:
                logger.finalize("success")


def resume_point(folder: RunFolder, plan: Plan, model: Density) -> Checkpoint | None:
    """Load the last checkpoint into the model; None for a run killed before it wrote one."""
    path = folder.checkpoint
    if not path.exists():
        return None
    checkpoint = read_checkpoint(path)
    state = checkpoint.state
    if checkpoint.images != plan.epochs.images:
        raise GlowkitError(
            f"{folder.path} was trained on {checkpoint.images} images, but the data now has "
            f"{plan.epochs.images}; resume with the same data, or start a new run"
        )
    if state.finished and plan.done(state):
        raise GlowkitError(
            f"{folder.path} is finished: its budget was used up at step {state.step}; "
            "give a larger budget of epochs or minutes to train it further"
        )
    state.finished = False
    try:
        model.load_state_dict(checkpoint.model)
        _check_averages(model, checkpoint.ema)
    except (RuntimeError, KeyError, TypeError) as error:
        raise GlowkitError(
            f"{path} does not fit the model in {folder.config}; start a new run"
        ) from error
    for tensors in (checkpoint.model, checkpoint.ema):
        wrong = not_finite({name: t for name, t in tensors.items() if isinstance(t, torch.Tensor)})
        if wrong:
            raise GlowkitError(
                f"{path} holds weights that are not finite, {wrong[0]} among them; the best model"
                f" so far is in {folder.model}, and a new run can start from the same config.yaml"
            )
    return checkpoint


def _check_averages(model: Density, averages: dict[str, Any]) -> None:
    """Raises RuntimeError when the averaged weights are not this model's."""
    for name, tensor in model.state_dict().items():
        if not isinstance(averages[name], torch.Tensor) or averages[name].shape != tensor.shape:
            raise RuntimeError(f"{name} does not fit")
    updates = averages[UPDATES]
    if len(averages) != len(model.state_dict()) + 1 or not 0 <= updates < 2**53:
        raise RuntimeError("there are more averages, or fewer, than weights")


def initialize_from(model: Density, split: Split, prepare: Preparation, seed: int) -> None:
    """Initialise data-dependent layers from some of the training data, alike on every rank.

    (Under DDP, rank 0's parameters and buffers are what every rank starts from anyway.)
    """
    rows = permutation(len(split), INITIALIZATION, seed)
    pixels = prepare(split.__getitems__(rows[:1]))[0][0, 0].numel()  # 1 of a point
    limits = _INITIALIZATION_IMAGES
    count = max(limits.start, min(limits.stop, _INITIALIZATION_PIXELS // pixels))
    chosen = rows[:count]
    if len(chosen) == 1:  # the one image of a set of three, whose noise still differs
        chosen = chosen.repeat(2)
    x, context = prepare(split.__getitems__(chosen))
    generator = torch.Generator().manual_seed(mixed_seed(INITIALIZATION, seed))
    initialize(model, x, context, generator)


class Training:
    """A density under training: what the loop works with, on this process's device.

    fresh: whether this is a run's beginning. trained: the parameters that are. average: the
    averaged weights. share: this rank's part of each batch; the ranks do what one would do alone:
    losses are weighted by examples, noise and dropout belong to an example's place in the whole
    batch, and batch norm sums over all ranks. loggers: rank 0 has some.
    """

    def __init__(
        self,
        fabric: Fabric,
        folder: RunFolder,
        model: Density,
        plan: Plan,
        state: RunState,
        splits: Mapping[str, Any],
        prepare: Preparation,
        report: Report,
        loggers: Sequence[MetricsFile | TensorBoardLogger],
        interruption: Interruption,
        resumed: Checkpoint | None,
    ) -> None:
        config = plan.config
        self.fabric, self.folder, self.model = fabric, folder, model
        self.plan, self.state, self.splits, self.prepare = plan, state, splits, prepare
        self.report, self.loggers, self.interruption = report, loggers, interruption
        self.subject = objective_of(model)
        self.loss = fabric.setup_module(Loss(model, self.subject))
        # A group of its own: sums in a backward pass must not meet those that average gradients.
        group = torch.distributed.new_group() if fabric.world_size > 1 else None
        self.share = BatchShare(
            plan.epochs.batch_size, fabric.global_rank, fabric.world_size, group
        )
        self.average = Ema(model, config.ema_decay)
        share_batch(model, self.share)  # after the copy, which sees whole batches
        if config.precision:  # after the copy, which is what is evaluated and saved
            set_precision(model, config.precision)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(
            config.optimizer, self.trained, config.learning_rate, config.weight_decay
        )
        self.fresh = resumed is None
        if resumed is not None:
            self.average.load_state_dict(resumed.ema)
            fit_optimizer(self.optimizer, resumed.optimizer, folder.checkpoint)
        self.interrupted = False
        self.saved_step, self.saved_elapsed = state.step, state.elapsed
        self.trained_steps, self.trained_seconds = 0, 0.0
        self.started = time.monotonic() - state.elapsed

    @property
    def seconds_unsaved(self) -> float:
        return self.state.elapsed - self.saved_elapsed


class Loss(nn.Module):
    """What training minimises, and the figure alone, two scalars, of a batch."""

    def __init__(self, model: Density, subject: Objective) -> None:
        super().__init__()
        self.model = model
        self.subject = subject

    def forward(self, x: Tensor, context: Tensor | None, noise: Generator) -> tuple[Tensor, Tensor]:
        with following_moments(self.model):
            loss, figure = self.subject.loss(self.model, x, context, noise)
        return loss, figure.detach()
