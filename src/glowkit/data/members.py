"""Arrays in .npy and .npz files, known by their headers and read in blocks of rows."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from glowkit.core.errors import GlowkitError

BLOCK_BYTES = 1 << 24  # read at once: large enough to be fast, small beside any memory
# All that zipfile and NumPy raise for archives that are broken, encrypted or oddly compressed.
DAMAGE = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Member:
    """An array in a file whose header, and nothing else, has been read.

    name: the key in an .npz, "" in an .npy. shape, dtype, fortran_order: from the header.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool

    @property
    def title(self) -> str:
        """How sentences call it."""
        return f"{self.path}:{self.name}" if self.name else str(self.path)

    def mapped(self) -> np.ndarray:
        """The array of an .npy file, memory-mapped read-only.

        Raises GlowkitError when the file is shorter than its header says.
        """
        try:
            return np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _unreadable(self.title, error) from None

    def blocks(self) -> Iterator[np.ndarray]:
        """Consecutive rows, some 16 MB at a time; the end of the file is checked too.

        Raises GlowkitError when the file is truncated or damaged.
        """
        row = max(1, math.prod(self.shape[1:]) * self.dtype.itemsize)
        step = max(1, BLOCK_BYTES // row)
        if not self.name:
            whole = self.mapped()
            yield from (whole[i : i + step] for i in range(0, len(whole), step))
            return
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.name}.npy") as file:
                if self.fortran_order:  # rows are scattered over the whole member
                    yield np.lib.format.read_array(file, allow_pickle=False)
                    return
                _read_header(file)
                for start in range(0, self.shape[0], step):
                    count = min(step, self.shape[0] - start)
                    yield self._read_rows(file, count)
                file.read(1)  # the checksum is compared only when the end is reached
        except DAMAGE as error:
            raise _unreadable(self.title, error) from None

    def _read_rows(self, file: IO[bytes], count: int) -> np.ndarray:
        shape = (count, *self.shape[1:])
        size = math.prod(shape) * self.dtype.itemsize
        data = file.read(size)
        if len(data) != size:
            raise EOFError("it ends too early")
        return np.frombuffer(data, self.dtype).reshape(shape)


def npy_member(path: Path) -> Member:
    """The array of an .npy file. Raises GlowkitError when it is not one, or holds pickles."""
    try:
        with open(path, "rb") as file:
            shape, fortran_order, dtype = _read_header(file)
    except (OSError, ValueError) as error:
        raise _unreadable(str(path), error) from None
    return _plain(Member(path, "", shape, dtype, fortran_order))


def npz_members(path: Path) -> dict[str, Member]:
    """The arrays of an .npz file by name.

    Raises GlowkitError when the archive is damaged or an array holds pickles.
    """
    members: dict[str, Member] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                if not entry.endswith(".npy"):
                    continue
                with archive.open(entry) as file:
                    shape, fortran_order, dtype = _read_header(file)
                name = entry.removesuffix(".npy")
                members[name] = Member(path, name, shape, dtype, fortran_order)
    except DAMAGE as error:
        raise _unreadable(str(path), error) from None
    return {name: _plain(member) for name, member in members.items()}


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype; ValueError for anything that is no .npy."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"format version {version} is for arrays with named fields")


def _plain(member: Member) -> Member:
    if member.dtype.hasobject:
        raise GlowkitError(
            f"{member.title} holds pickled Python objects, which are not loaded because they "
            "could run code: save a plain array of numbers"
        )
    return member


def _unreadable(title: str, error: Exception) -> GlowkitError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return GlowkitError(f"{title} cannot be read, truncated or damaged ({reason}): save it again")
