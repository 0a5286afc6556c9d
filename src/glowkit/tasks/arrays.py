"""Arrays on disk, row by row: .npy and .npz files that need not fit into memory."""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from glowkit.core import GlowkitError
from glowkit.core.files import replacing

Append = Callable[[np.ndarray], None]


@contextmanager
def writing_rows(
    path: Path, name: str, shape: tuple[int, ...], dtype: Any, others: Mapping[str, Any]
) -> Iterator[Append]:
    """Write one large array in pieces, of which only one is in memory.

    Yields a function that appends rows. The file is a .npy, or a .npz with the array under `name`
    and `others`, small arrays or lists of rows that may grow while the block runs; it takes its
    name only when the block ends well.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "numbers.npz"
    >>> with writing_rows(file, "x", (4, 2), "int64", {"y": [1, 2]}) as append:
    ...     append(np.zeros((3, 2), "int64"))
    ...     append(np.ones((1, 2), "int64"))
    >>> np.load(file)["x"].sum(1).tolist(), np.load(file)["y"].tolist()
    ([0, 0, 0, 2], [1, 2])
    """
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    with replacing(path) as temporary, ExitStack() as stack:
        archive = None
        file: IO[bytes]
        if path.suffix.lower() == ".npz":
            archive = stack.enter_context(zipfile.ZipFile(temporary, "w"))
            file = stack.enter_context(archive.open(f"{name}.npy", "w", force_zip64=True))
        else:
            file = stack.enter_context(open(temporary, "wb"))
        np.lib.format.write_array_header_1_0(file, header)
        written = 0

        def append(rows: np.ndarray) -> None:
            nonlocal written
            written += len(rows)
            file.write(np.ascontiguousarray(rows, dtype).tobytes())

        yield append
        assert written == shape[0], f"{written} rows of {shape[0]}"
        if archive is not None:
            file.close()
            for other, array in others.items():
                with archive.open(f"{other}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


class Rows:
    """One array of a .npz file, read in pieces.

    Raises GlowkitError when the file is missing, damaged, or holds no such array of numbers.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        with self._open() as member:
            self.shape, self.fortran, self.dtype = _header(member)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """The array, `size` rows at a time, in the byte order of this processor."""
        native = self.dtype.newbyteorder("=")
        with self._open() as member:
            if self.fortran:  # columns come first in the file, so that no row is whole early
                whole = np.lib.format.read_array(member, allow_pickle=False).astype(native)
                yield from (whole[at : at + size] for at in range(0, len(whole), size))
                return
            _header(member)
            row = int(np.prod(self.shape[1:])) * self.dtype.itemsize
            for at in range(0, self.shape[0], size):
                number = min(size, self.shape[0] - at)
                data = member.read(number * row)
                rows = np.frombuffer(data, self.dtype).reshape(number, *self.shape[1:])
                yield rows.astype(native, copy=False)

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        if not self.path.is_file():
            raise GlowkitError(f"no such file: {self.path}")
        try:
            with zipfile.ZipFile(self.path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
                if self.name not in names:
                    held = ", ".join(sorted(names)) or "nothing"
                    raise GlowkitError(
                        f"{self.path} has no array {self.name!r}, but {held}; `glowkit encode`"
                        " writes files that have"
                    )
                with archive.open(f"{self.name}.npy") as member:
                    yield member
        except GlowkitError:
            raise
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
            raise GlowkitError(f"{self.path} is not a .npz file, or damaged: {error}") from error


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        header = np.lib.format.read_array_header_1_0(member)
    else:
        header = np.lib.format.read_array_header_2_0(member)
    return header
