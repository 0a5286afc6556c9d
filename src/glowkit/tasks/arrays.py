"""Arrays on disk, row by row: .npy and .npz files that need not fit into memory."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from glowkit.core import GlowkitError
from glowkit.core.arrays import npz_arrays
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
        arrays = npz_arrays(path)
        if name not in arrays:
            held = ", ".join(sorted(arrays)) or "nothing"
            raise GlowkitError(
                f"{path} has no array {name!r}, but {held}; `glowkit encode` writes files that have"
            )
        self._stored = arrays[name]
        self.shape = self._stored.shape
        self.dtype = np.dtype(self._stored.type)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """The array, `size` rows at a time, in the byte order of this processor."""
        native = self.dtype.newbyteorder("=")
        if not self.shape:
            raise GlowkitError(f"{self._stored.title} is a single number, not rows")
        if self._stored.fortran_order:  # columns come first, so that no row is whole early
            for data in self._stored.pieces(size):
                whole = np.frombuffer(data, self.dtype).reshape(self.shape, order="F")
                yield from (
                    whole[at : at + size].astype(native) for at in range(0, len(whole), size)
                )
            return
        for data in self._stored.pieces(size):
            rows = np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])
            yield rows.astype(native, copy=False)
