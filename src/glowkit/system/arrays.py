"""Arrays in .npy and .npz files: a header is believed only as far as the file bears it out."""

import math
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from glowkit.system.errors import GlowkitError

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000  # bytes, NumPy's own limit
MOST_ARRAYS = 10_000  # in one .npz
# Deflate packs at most 1032 bytes into one; images and latents stay far below a quarter of that.
MOST_EXPANSION, EXPANSION_MATTERS = 250, 2**28
WIDTHS = {
    "b": (1,),
    "i": (1, 2, 4, 8),
    "u": (1, 2, 4, 8),
    "f": (2, 4, 8, 16),
    "c": (8, 16, 32),
}

_ENTRY = re.compile(
    r"\s*'(descr|fortran_order|shape)'\s*:\s*"
    r"('[^']*'|True|False|\(\s*(?:\d{1,30}L?\s*,\s*)*(?:\d{1,30}L?\s*)?\))\s*(?:,|(?=\}))"
)
_TYPE = re.compile(r"[<>|=]?([biufcmMSUVO])(\d{0,9})(\[\w+\])?")


@dataclass(frozen=True)
class Stored:
    """An array in a file, of which nothing but the header has been read.

    name: its key in an .npz, "" in an .npy. type: as NumPy writes it, such as "<f4". kind: the
    letter in it, "biufc" for numbers. itemsize, offset: in bytes, the latter of its first number.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    type: str
    kind: str
    itemsize: int
    fortran_order: bool
    offset: int

    @property
    def title(self) -> str:
        """How sentences call it."""
        return f"{self.path}:{self.name}" if self.name else str(self.path)

    def pieces(self, rows: int) -> Iterator[bytes]:
        """The bytes of the array, so many rows at a time; all at once in Fortran order.

        Raises GlowkitError when the file is truncated or damaged, its checksum included.
        """
        row = math.prod(self.shape[1:]) * self.itemsize
        total = math.prod(self.shape) * self.itemsize
        size = total if self.fortran_order else rows * row
        with sentences(self.title, ".npz" if self.name else ".npy"), _opened(self) as file:
            file.read(self.offset)
            for start in range(0, total, max(1, size)):
                wanted = min(size, total - start)
                data = file.read(wanted)
                if len(data) != wanted:
                    raise EOFError("it ends too early")
                yield data
            file.read(1)  # a checksum is compared only when the end is reached


def npy_array(path: Path) -> Stored:
    """The array of an .npy file.

    Raises GlowkitError when there is no such file, or it is none, damaged, not of the size that its
    header says, or holds pickled objects.
    """
    _require_file(path)
    with sentences(str(path), ".npy"), open(path, "rb") as file:
        return _stored(path, "", file, os.fstat(file.fileno()).st_size)


def npz_arrays(path: Path) -> dict[str, Stored]:
    """The arrays of an .npz file by name.

    Raises GlowkitError as `npy_array` does, and for an archive that unpacks to a multiple of its
    size that no compressed data reaches.
    """
    _require_file(path)
    found: dict[str, Stored] = {}
    with sentences(str(path), ".npz"), zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
        if len(entries) > MOST_ARRAYS:
            raise GlowkitError(
                f"{path} holds {len(entries):,} arrays, and at most {MOST_ARRAYS:,} are read:"
                " save fewer in one file"
            )
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in found:
                raise GlowkitError(f"{path} holds two arrays called {name}: save it again")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("a compression that NumPy does not write")
            check_expansion(f"{path}:{name}", entry.file_size, entry.compress_size)
            with archive.open(entry) as file:
                found[name] = _stored(path, name, file, entry.file_size)
    return found


def check_expansion(title: str, unpacked: int, packed: int) -> None:
    """Refuse what unpacks to so many times its own bytes that it cannot be honest data."""
    if unpacked > EXPANSION_MATTERS and unpacked > MOST_EXPANSION * packed:
        raise GlowkitError(
            f"{title} would unpack from {packed:,} bytes to {unpacked:,}, more than"
            f" {MOST_EXPANSION} times as many, and is not unpacked: save it without compression"
        )


@contextmanager
def sentences(title: str, kind: str) -> Iterator[None]:
    """Say whatever is raised by reading a damaged file as one sentence, naming it."""
    try:
        yield
    except GlowkitError:
        raise
    except Exception as error:  # zipfile, zlib and struct each raise their own, and others' too
        known = isinstance(error, OSError) and error.strerror
        reason = known or " ".join(str(error).split())[:200] or type(error).__name__
        raise GlowkitError(
            f"{title} is not a {kind} file, or damaged or truncated ({reason}): save it again"
        ) from error


def _require_file(path: Path) -> None:
    if not os.path.isfile(path):  # of os, because that of Path raises for names too long
        if os.path.exists(path):  # a pipe, say, which would be waited for
            raise GlowkitError(f"{path} is not a regular file: name one")
        raise GlowkitError(f"no such file: {path}")


@contextmanager
def _opened(array: Stored) -> Iterator[IO[bytes]]:
    if not array.name:
        with open(array.path, "rb") as file:
            yield file
        return
    with (
        zipfile.ZipFile(array.path) as archive,
        archive.open(f"{array.name}.npy") as member,
    ):
        yield member


def _stored(path: Path, name: str, file: IO[bytes], size: int) -> Stored:
    """The array whose header begins here, in a file or member of `size` bytes."""
    title = f"{path}:{name}" if name else str(path)
    start = file.read(8)
    version = tuple(start[6:])
    if start[:6] != MAGIC or version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError("it does not begin as one" if start else "it is empty")
    field = 2 if version == (1, 0) else 4
    length = int.from_bytes(_exactly(file, field), "little")
    if length > LONGEST_HEADER:
        raise ValueError(f"a header of {length:,} bytes")
    offset = 8 + field + length
    shape, fortran_order, type_ = _header(_exactly(file, length), title)
    matched = _TYPE.fullmatch(type_)
    if matched is None:
        raise ValueError(f"numbers of an unknown type {type_[:40]!r}")
    kind, digits = matched[1], matched[2]
    if kind == "O":
        raise GlowkitError(
            f"{title} holds pickled Python objects, which are not loaded because they could run"
            " code: save a plain array of numbers"
        )
    width = int(digits or 0)
    if kind in WIDTHS and width not in WIDTHS[kind]:
        raise ValueError(f"numbers of an unknown type {type_!r}")
    itemsize = 4 * width if kind == "U" else width
    promised, held = math.prod(shape) * itemsize, size - offset
    if promised != held:
        raise GlowkitError(
            f"{title} is truncated or damaged: its header says shape {_short(shape)} and type"
            f" {type_}, {_short(promised)} bytes, and {held:,} follow; save it again"
        )
    return Stored(path, name, shape, type_, kind, itemsize, fortran_order, offset)


def _header(data: bytes, title: str) -> tuple[tuple[int, ...], bool, str]:
    """Shape, Fortran order and type. Matched and never evaluated, as NumPy's own reader does."""
    text = data.decode("utf-8").strip().replace('"', "'")
    if "'descr': [" in text:
        raise GlowkitError(f"{title} has named fields: save a plain array of numbers")
    values: dict[str, str] = {}
    at = 1
    while entry := _ENTRY.match(text, at):
        values[entry[1]] = entry[2]
        at = entry.end()
    if text[:1] != "{" or text[at:].strip() != "}" or len(values) != 3:
        raise ValueError("its header cannot be understood")
    order, type_ = values["fortran_order"], values["descr"]
    if order not in ("True", "False") or type_[0] != "'" or values["shape"][0] != "(":
        raise ValueError("its header cannot be understood")
    shape = tuple(int(number) for number in re.findall(r"\d+", values["shape"]))
    if len(shape) > 32:
        raise ValueError(f"an array of {len(shape)} axes")
    return shape, order == "True", type_[1:-1]


def _exactly(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise EOFError("it ends within its header")
    return data


def _short(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
