"""checkpoints/last.ckpt: all that a run needs to go on, and nothing that torch would unpickle."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from glowkit.core.errors import GlowkitError
from glowkit.core.files import replacing
from glowkit.training.state import RunState

_VERSION = 1


@dataclass
class Checkpoint:
    """The state dicts of a run, and the number of training images that its data order is for."""

    state: RunState
    images: int
    model: dict[str, Any]
    ema: dict[str, Any]
    optimizer: dict[str, Any]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint; GlowkitError, and the former one in its place, if that fails."""
    content = {
        "version": _VERSION,
        "state": checkpoint.state.to_dict(),
        "images": checkpoint.images,
        "model": checkpoint.model,
        "ema": checkpoint.ema,
        "optimizer": checkpoint.optimizer,
    }
    # Through a file object: given a path, torch reports a full disk as an internal error.
    with replacing(path) as temporary, open(temporary, "wb") as file:
        torch.save(content, file)


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file, on the CPU. Raises GlowkitError for one that is damaged."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["version"] > _VERSION:
            raise GlowkitError(f"{path} was written by a newer glowkit; upgrade glowkit to use it")
        return Checkpoint(
            RunState.from_dict(content["state"]),
            content["images"],
            content["model"],
            content["ema"],
            content["optimizer"],
        )
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise GlowkitError(
            f"{path} is damaged or not a glowkit checkpoint; the best model so far is in "
            f"{path.parent.parent / 'model'}, and a new run can start from the same config.yaml"
        ) from error
