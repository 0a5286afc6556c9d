"""What torch.save wrote, read without running anything, or more memory than the file has."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glowkit.core.arrays import check_expansion
from glowkit.core.errors import GlowkitError

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_NUMBERS = (*_FLOATS, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def read_torch(path: Path) -> Any:
    """The content of a file of torch's, tensors on the CPU.

    Raises GlowkitError when there is no such file, it cannot be read, is damaged, would unpack to a
    large multiple of its size, or holds more than plain values and tensors, which could run code.
    """
    if not os.path.isfile(path):
        raise GlowkitError(f"no such file: {path}")
    if not os.access(path, os.R_OK):
        raise GlowkitError(f"{path} may not be read; change its permissions")
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
