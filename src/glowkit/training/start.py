"""What must hold before a run starts or resumes, and the pieces it starts from."""

import os
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from glowkit.core.density import Density
from glowkit.core.finite import not_finite
from glowkit.core.initialization import initialize
from glowkit.models.presets import Config
from glowkit.nets.precision import precision_nets
from glowkit.system.errors import GlowkitError
from glowkit.training.batches import INITIALIZATION, Preparation, Split, mixed_seed, permutation
from glowkit.training.checkpoint import Checkpoint, read_checkpoint
from glowkit.training.ema import UPDATES
from glowkit.training.run import RunFolder, read_run, sentences
from glowkit.training.state import Plan

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


def make_trainer(
    folder: RunFolder, accelerator: str, devices: int | str, num_nodes: int
) -> Trainer:
    """Lightning's Trainer for one endless epoch, whose end `Conductor` decides."""
    if torch.distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        num_nodes = int(os.environ["WORLD_SIZE"]) // devices
    if accelerator == "auto":  # never Apple's, which lacks the float64 of 1x1 matrices
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return _trainer(folder, accelerator, devices, num_nodes)
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise GlowkitError(
            f"{devices} device(s) of kind {accelerator!r} on {num_nodes} host(s) cannot be used"
            " here; try --device cpu --devices 1"
        ) from error


def _trainer(folder: RunFolder, accelerator: str, devices: int | str, num_nodes: int) -> Trainer:
    return Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder.path,
    )


def make_tensorboard(folder: RunFolder, step: int) -> TensorBoardLogger:
    """Curves in `tensorboard/`; those after `step`, from before a kill, are not shown."""
    with sentences(folder.path):
        return TensorBoardLogger(folder.path, "tensorboard", "", purge_step=step + 1)


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
    if state.finished and plan.progress(state) >= 1:
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
