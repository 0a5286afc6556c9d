"""Files of foreign checkpoints: safely read, and what they hold."""

import importlib
import os
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from glowkit.system.arrays import check_expansion, npz_arrays
from glowkit.system.errors import GlowkitError, shown

if TYPE_CHECKING:
    import numpy as np


_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_NUMBERS = (*_FLOATS, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def read_torch(path: Path) -> Any:
    """The content of a file of torch's, tensors on the CPU.

    Raises GlowkitError when there is no such file, it cannot be read, is damaged, would unpack to a
    large multiple of its size, or holds more than plain values and tensors, which could run code.
    """
    _check_readable(path)
    damaged = f"{path} is truncated, damaged or not a PyTorch file; copy it again"
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    check_expansion(str(path), entry.file_size, entry.compress_size)
                if archive.testzip():  # torch does not look at the checksums that it writes
                    raise GlowkitError(damaged)
        return torch.load(path, map_location="cpu", weights_only=True)
    except GlowkitError:
        raise
    except pickle.UnpicklingError as error:
        raise GlowkitError(
            f"{path} is damaged, or holds more than tensors, which glowkit does not load because a"
            " pickle can run code; save the model's state_dict() alone"
        ) from error
    except MemoryError as error:
        raise GlowkitError(f"{path} needs more memory than there is, or is damaged") from error
    except Exception as error:  # torch raises whatever its readers stumble over
        raise GlowkitError(damaged) from error


def is_plain(value: object) -> bool:
    """Whether it is a dense tensor of real numbers on the CPU, each in a place of its own.

    A view of one number repeated takes no space in a file, and all of memory when it is used.

    >>> is_plain(torch.zeros(3)), is_plain(torch.zeros(1).expand(10**12))
    (True, False)
    """
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.dtype in _NUMBERS
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


MOST_NAMED = 5


class Contents:
    """The tensors of a file by name. A reader takes them one by one; what is left is refused.

    So nothing in a file can be overlooked: a tensor that this format does not have would mean
    another architecture, and an import that ignored it would be another model.
    """

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        self.path = path
        self._tensors = dict(tensors)
        self._left = set(tensors)

    @property
    def dtype(self) -> torch.dtype:
        """The widest floating type in the file, and at least float32."""
        floats = (t.dtype for t in self._tensors.values() if t.is_floating_point())
        return reduce(torch.promote_types, floats, torch.float32)

    def has(self, pattern: str) -> bool:
        """Whether a tensor's name begins with this regular expression."""
        return any(re.match(pattern, name) for name in self._tensors)

    def numbers(self, pattern: str) -> set[int]:
        """The number that the pattern's group captures, in every name that begins with it.

        Raises:
            GlowkitError: for one that the file cannot have counted to.
        """
        numbers = set()
        for name in self._tensors:
            match = re.match(pattern, name)
            if match and (len(match[1]) > 9 or int(match[1]) >= len(self._tensors)):
                raise GlowkitError(
                    f"{self.path} holds {shown(name)}, and only {len(self._tensors)} tensors; it is"
                    " damaged or not whole"
                )
            if match:
                numbers.add(int(match[1]))
        return numbers

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor.

        Raises:
            GlowkitError: when there is no such tensor.
        """
        if name not in self._tensors:
            raise GlowkitError(f"{self.path} lacks the tensor {name}; it is not whole")
        return tuple(self._tensors[name].shape)

    def size(self, name: str, dimension: int) -> int:
        """One side of a tensor, or 0 where it has fewer dimensions."""
        shape = self.shape(name)
        return shape[dimension] if dimension < len(shape) else 0

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor in float64, whatever its type, which must have this shape.

        Raises:
            GlowkitError: when it is missing, of another shape, or holds NaN or infinity.
        """
        if self.shape(name) != shape or 0 in shape:
            raise GlowkitError(
                f"{self.path}: {name} has shape {self.shape(name)} where the rest of the file"
                f" asks for {shape}; this is not a Glow of the format you named"
            )
        tensor = self._tensors[name].double()
        if not torch.isfinite(tensor).all():
            raise GlowkitError(f"{self.path}: {name} holds NaN or infinity; use another checkpoint")
        self._left.discard(name)
        return tensor

    def flat(self, name: str, *shape: int) -> Tensor:
        """`take`, flattened to a vector: layouts keep singleton axes where we keep none."""
        return self.take(name, *shape).flatten()

    def refuse_the_rest(self) -> None:
        """Refuse, by name, what no reader took."""
        if self._left:
            raise GlowkitError(
                f"{self.path} holds {named(self._left)}, which this format does not have; it"
                " cannot be imported as the same model"
            )


def named(names: Iterable[str]) -> str:
    """A few names and how many more there are."""
    names = sorted(map(_short, names))
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _short(name: str) -> str:
    return name if len(name) <= 200 and name.isprintable() else shown(name)


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
    if not os.path.isfile(path):  # of os, because that of Path raises for names too long
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
