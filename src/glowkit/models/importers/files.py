"""Open a checkpoint without running anything that is in it."""

import importlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.core.arrays import npz_arrays
from glowkit.core.torch_files import is_plain, read_torch
from glowkit.models.importers.contents import Contents, named

if TYPE_CHECKING:
    import numpy as np


def open_torch(path: Path, wrapper: str | None = None) -> Contents:
    """The tensors of a PyTorch state dict; a `module.` that DataParallel added is taken off.

    wrapper: the name under which a format keeps its state dict, beside figures of its training
        that no model needs; the bare state dict is read too.

    Raises:
        GlowkitError: when the file holds code or other objects, is damaged, or is no state dict.
    """
    held = read_torch(path)
    if isinstance(held, dict) and wrapper in held:
        held = held[wrapper]
    if not isinstance(held, dict) or not held:
        raise GlowkitError(f"{path} holds no state dict; save the model's state_dict()")
    others = [str(name) for name, value in held.items() if not is_plain(value)]
    if others:
        raise GlowkitError(
            f"{path} holds {named(others)}, which are not tensors; save the model's state_dict()"
            " alone"
        )
    names = [str(name) for name in held]
    if all(name.startswith("module.") for name in names):
        names = [name.removeprefix("module.") for name in names]
    return Contents(path, dict(zip(names, held.values(), strict=True)))


def open_tensorflow(path: Path) -> Contents:
    """TensorFlow variables: an .npz of them, or, where TensorFlow is installed, the checkpoint.

    A checkpoint is named as TensorFlow names it, without the `.index` of its first file. Optimiser
    slots, which openai/glow leaves unnamed, and averaged copies are left out. Reading checkpoints
    was never tried with a real TensorFlow.

    Raises:
        GlowkitError: when the file is damaged, not an .npz, or holds what is no array of numbers.
    """
    index = path.with_name(path.name + ".index")
    if not path.exists() and index.exists():
        return Contents(path, _numbers(path, _read_checkpoint(path)))
    _check_readable(path)
    return Contents(path, _numbers(path, _read_npz(path)))


def _check_readable(path: Path) -> None:
    if not path.is_file():
        raise GlowkitError(f"no such file: {path}")
    if not os.access(path, os.R_OK):
        raise GlowkitError(f"{path} may not be read; change its permissions")


def _read_npz(path: Path) -> dict[str, "np.ndarray"]:
    import numpy as np

    try:
        stored = npz_arrays(path)
        if not stored:
            raise GlowkitError(f"{path} holds no array")
        arrays = {}
        for name, array in stored.items():
            data = b"".join(array.pieces(array.shape[0] if array.shape else 1))
            order: Literal["F", "C"] = "F" if array.fortran_order else "C"
            held = np.ndarray(array.shape, array.type, data, order=order)
            # A copy, because torch takes no array that it may not write to.
            arrays[name] = held.astype(held.dtype.newbyteorder("="))
    except GlowkitError as error:
        raise GlowkitError(
            f"{path} is truncated, damaged or not an .npz of plain arrays; write it again as"
            " docs/importing.md shows"
        ) from error
    return arrays


def _read_checkpoint(path: Path) -> dict[str, "np.ndarray"]:
    try:
        tensorflow = importlib.import_module("tensorflow")
    except ImportError as error:
        raise GlowkitError(
            f"{path} is a TensorFlow checkpoint, and TensorFlow is not installed; make an .npz of"
            " it where it is, as docs/importing.md shows"
        ) from error
    reader = tensorflow.train.load_checkpoint(str(path))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def _numbers(path: Path, arrays: Mapping[str, "np.ndarray"]) -> dict[str, Tensor]:
    tensors = {}
    for name, array in arrays.items():
        if re.match(r"Variable|.*/ExponentialMovingAverage", name):
            continue
        if array.dtype.kind not in "fiub":
            raise GlowkitError(f"{path}: {name} is not an array of numbers; leave it out")
        tensors[name.removesuffix(":0")] = torch.from_numpy(array)
    return tensors
