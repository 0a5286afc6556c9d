"""Open a checkpoint without running anything that is in it."""

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.models.importers.contents import Contents, named


def open_torch(path: Path) -> Contents:
    """The tensors of a PyTorch state dict; a `module.` that DataParallel added is taken off.

    Raises:
        GlowkitError: when the file holds code or other objects, is damaged, or is no state dict.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise GlowkitError(
            f"{path} is damaged, or holds more than tensors, which glowkit does not load because a"
            " pickle can run code; save the model's state_dict() alone"
        ) from error
    except Exception as error:  # torch raises whatever its readers stumble over
        raise GlowkitError(
            f"{path} is truncated, damaged or not a PyTorch file; copy it again"
        ) from error
    if not isinstance(held, dict) or not held:
        raise GlowkitError(f"{path} holds no state dict; save the model's state_dict()")
    others = [str(name) for name, value in held.items() if not isinstance(value, Tensor)]
    if others:
        raise GlowkitError(
            f"{path} holds {named(others)}, which are not tensors; save the model's state_dict()"
            " alone"
        )
    names = [str(name) for name in held]
    if all(name.startswith("module.") for name in names):
        names = [name.removeprefix("module.") for name in names]
    return Contents(path, dict(zip(names, held.values(), strict=True)))


def open_npz(path: Path) -> Contents:
    """The TensorFlow variables of an .npz; optimiser slots and averaged copies are left out.

    Raises:
        GlowkitError: when the file is damaged, not an .npz, or holds what is no array of numbers.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise GlowkitError(
            f"{path} is truncated, damaged or not an .npz of plain arrays; write it again as"
            " docs/importing.md shows"
        ) from error
    tensors = {}
    for name, array in arrays.items():
        if re.match(r"Variable|.*/ExponentialMovingAverage", name):
            continue
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
            raise GlowkitError(f"{path}: {name} is not an array of numbers; leave it out")
        tensors[name.removesuffix(":0")] = torch.from_numpy(array)
    return Contents(path, tensors)
