"""Pixels packed once into a file that later opens map: complete and synced, or not there."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from glowkit.core.errors import GlowkitError

FORMAT = 1  # raise it when packed pixels or facts change meaning
ABANDONED = 24 * 3600.0  # seconds after which a temporary folder belongs to no living process


@dataclass(frozen=True)
class Pack:
    """Packed images (N, C, H, W), memory-mapped read-only, and facts found while packing."""

    images: np.ndarray
    facts: dict[str, Any]


@dataclass
class PackWriter:
    """Receives images one after the other; `facts` must be something JSON can hold."""

    file: BinaryIO
    facts: dict[str, Any] = field(default_factory=dict)
    count: int = 0
    _row: tuple[np.dtype, tuple[int, ...]] | None = None

    def append(self, images: np.ndarray) -> None:
        """Add images (B, C, H, W), all of the dtype and shape of the first ones."""
        row = (images.dtype, images.shape[1:])
        if self._row is None:
            self._row = row
            self._write_header()
        elif row != self._row:
            raise ValueError(f"{row} appended to {self._row}")
        # Plain writes, not a writable memory map: a full disk is then an error, not SIGBUS.
        self.file.write(np.ascontiguousarray(images).data)
        self.count += len(images)

    def finish(self) -> None:
        """Write the final count into the header and sync."""
        if self._row is not None:
            start = self.file.tell()
            self.file.seek(0)
            self._write_header()
            self.file.seek(start)
        self.file.flush()
        os.fsync(self.file.fileno())

    def _write_header(self) -> None:
        # NumPy pads the header for any first axis, so that it keeps its length when rewritten.
        assert self._row is not None
        dtype, shape = self._row
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": (self.count, *shape),
        }
        np.lib.format.write_array_header_1_0(self.file, header)


def cache_folder() -> Path:
    """$GLOWKIT_CACHE, or ~/.cache/glowkit."""
    given = os.environ.get("GLOWKIT_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "glowkit"


def packed(place: str, options: object, state: object, fill: Callable[[PackWriter], None]) -> Pack:
    """The pack for these sources in this state: mapped if it exists, else made by `fill`.

    place, options: what is read and how; they name the pack. state: names, sizes and times of the
    files read; when it changes the pack is made again and the old one removed.
    Raises GlowkitError when the cache folder cannot be written or its disk is full; whatever
    `fill` raises passes through, leaving nothing behind (an OSError counts as one of the cache,
    so `fill` must put failures to read its own files in words).
    """
    folder = cache_folder()
    identity = _digest([FORMAT, place, options])
    target = folder / f"{identity}-{_digest(state)}"
    pack = _load(target)
    if pack is not None:
        return pack
    with _sentences(folder):
        temporary = folder / f"{identity}-{uuid.uuid4().hex}.tmp"
        temporary.mkdir(parents=True)
    try:
        with _sentences(folder):
            _write(temporary, fill)
            _publish(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _remove_stale(folder, identity, target)
    pack = _load(target)
    if pack is None:
        raise GlowkitError(f"{target} cannot be read back: set GLOWKIT_CACHE to another folder")
    return pack


def _write(folder: Path, fill: Callable[[PackWriter], None]) -> None:
    with open(folder / "images.npy", "wb") as file:
        writer = PackWriter(file)
        fill(writer)
        writer.finish()
    with open(folder / "facts.json", "w", encoding="utf-8") as text:
        json.dump(writer.facts, text)
        text.flush()
        os.fsync(text.fileno())


def _publish(temporary: Path, target: Path) -> None:
    """Rename, unless another process was first; a broken target is replaced."""
    if target.exists() and _load(target) is None:
        shutil.rmtree(target)
    try:
        os.rename(temporary, target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


def _remove_stale(folder: Path, identity: str, keep: Path) -> None:
    """Remove packs of an earlier state, and what killed processes left half-made."""
    for other in folder.glob(f"{identity}-*"):
        with contextlib.suppress(OSError):  # another process may be removing it too
            age = time.time() - other.stat().st_mtime
            if other != keep and (other.suffix != ".tmp" or age > ABANDONED):
                shutil.rmtree(other, ignore_errors=True)


def _load(target: Path) -> Pack | None:
    """The pack in that folder; None when there is none, or it is not whole."""
    try:
        facts = json.loads((target / "facts.json").read_text(encoding="utf-8"))
        images = np.load(target / "images.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return Pack(images, facts)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:20]


@contextlib.contextmanager
def _sentences(folder: Path) -> Iterator[None]:
    """Say a failure to write the cache as one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            reason = f"the disk of the image cache {folder} is full"
        else:
            reason = f"the image cache {folder} cannot be written ({error.strerror or error})"
        raise GlowkitError(
            f"{reason}: free some space or set GLOWKIT_CACHE to another folder"
        ) from None
