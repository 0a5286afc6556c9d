"""checkpoints/last.ckpt: all that a run needs to go on, and nothing that torch would unpickle."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from glowkit.models.importers.files import is_plain, read_torch
from glowkit.system.errors import GlowkitError
from glowkit.system.files import replacing
from glowkit.training.state import RunState

_VERSION = 1

T = TypeVar("T")


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
        content = read_torch(path)
        version = _checked(content, dict).get("version")
        if _checked(version, int) > _VERSION:
            raise GlowkitError(f"{path} was written by a newer glowkit; upgrade glowkit to use it")
        return Checkpoint(
            RunState.from_dict(_checked(content["state"], dict)),
            _checked(content["images"], int),
            _tensors(content["model"]),
            _tensors(content["ema"], int),
            _optimizer(content["optimizer"]),
        )
    except (KeyError, TypeError) as error:
        raise _damage(path) from error
    except GlowkitError as error:
        if "newer glowkit" in str(error):
            raise
        raise _damage(path) from error


def fit_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any], path: Path) -> None:
    """Give an optimizer the state in a checkpoint. Raises GlowkitError for one of another model."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, values in state["state"].items():
        shapes = {tuple(t.shape) for t in values.values() if isinstance(t, Tensor)}
        if not 0 <= number < len(parameters) or shapes - {(), tuple(parameters[number].shape)}:
            raise _damage(path)
    # How it works follows from the config and this torch; the rate alone from where the run was.
    groups = optimizer.state_dict()["param_groups"]
    for group, held in zip(groups, state["param_groups"], strict=False):
        rate = held.get("lr")
        if held["params"] != group["params"] or type(rate) is not float or not 0 <= rate < math.inf:
            raise _damage(path)
        group["lr"] = rate
    if len(groups) != len(state["param_groups"]):
        raise _damage(path)
    try:
        optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise _damage(path) from error


def _damage(path: Path) -> GlowkitError:
    return GlowkitError(
        f"{path} is damaged or not a glowkit checkpoint; the best model so far is in "
        f"{path.parent.parent / 'model'}, and a new run can start from the same config.yaml"
    )


def _checked(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} in place of {kind.__name__}")
    return value


def _tensors(state: Any, *others: type) -> dict[str, Any]:
    """A state dict: tensors, and values of other types, by their names."""
    if not isinstance(state, dict):  # torch's own kind of it, too
        raise TypeError("no state dict")
    for name, value in state.items():
        if not isinstance(name, str) or not (is_plain(value) or type(value) in others):
            raise TypeError("a state dict holds other things than tensors")
    return state


def _optimizer(state: Any) -> dict[str, Any]:
    for number, values in _checked(_checked(state, dict)["state"], dict).items():
        _checked(number, int)
        for value in _tensors(values, int, float).values():
            if isinstance(value, Tensor) and not bool(value.isfinite().all()):
                raise TypeError("a moment is not finite")
    for group in _checked(state["param_groups"], list):
        _checked(_checked(group, dict)["params"], list)
    return state
