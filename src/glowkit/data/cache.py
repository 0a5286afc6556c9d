"""Pixels packed once into a file that later opens map: complete and synced, or not there."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from glowkit.system.errors import GlowkitError
from glowkit.system.files import cache_folder
from glowkit.system.locks import Lock

FORMAT = 3  # raise it when packed pixels or facts change meaning
LOOK_AGAIN = 0.2  # seconds between looks at a pack that another process is making
ABANDONED = 24 * 3600.0  # seconds until a temporary is removed where locks cannot tell


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


def packed(place: str, options: object, state: object, fill: Callable[[PackWriter], None]) -> Pack:
    """The pack for these sources in this state: mapped if it exists, else made by `fill`.

    place, options: what is read and how; they name the pack. state: names, sizes and times of the
    files read; when it changes the pack is made again and the old one removed.

    While another process makes the same pack, this one waits, and says for whom on stderr. What
    killed processes left half-made in the cache, of any pack, is removed first.

    Raises GlowkitError when the cache folder cannot be written or its disk is full; whatever
    `fill` raises passes through, leaving nothing behind (an OSError counts as one of the cache,
    so `fill` must put failures to read its own files in words).
    """
    folder = cache_folder()
    identity = _digest([FORMAT, place, options])
    target = folder / f"{identity}-{_digest(state)}"
    _remove_abandoned(folder)
    pack = _load(target)
    if pack is not None:
        return pack
    with _sentences(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = _only_maker(folder / f"{identity}.lock", place)
    try:
        pack = _load(target)  # made by the process waited for
        if pack is None:
            _make(target, identity, fill)
            pack = _load(target)
    finally:
        lock.give_back()
    if pack is None:
        raise GlowkitError(f"{target} cannot be read back: set GLOWKIT_CACHE to another folder")
    return pack


def _only_maker(path: Path, place: str) -> Lock:
    """The lock of a pack, waited for."""
    lock = Lock(path)
    looks = 0
    while (holder := lock.take()) is not None:
        looks += 1
        if looks == 2:  # the first time it may only have looked for remains
            print(f"waiting for {holder}, which is packing {place}", file=sys.stderr)
        time.sleep(LOOK_AGAIN)
    return lock


def _make(target: Path, identity: str, fill: Callable[[PackWriter], None]) -> None:
    temporary = target.with_name(f"{identity}-{uuid.uuid4().hex}.tmp")
    try:
        with _sentences(target.parent):
            temporary.mkdir()
            _write(temporary, fill)
            _publish(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for other in target.parent.glob(f"{identity}-*"):  # packs of an earlier state
        if other != target and other.suffix != ".tmp":
            shutil.rmtree(other, ignore_errors=True)  # another process may be removing it too


def _write(folder: Path, fill: Callable[[PackWriter], None]) -> None:
    with open(folder / "images.npy", "wb") as file:
        writer = PackWriter(file)
        fill(writer)
        writer.finish()
    with open(folder / "facts.json", "w", encoding="utf-8") as text:
        json.dump({"facts": writer.facts, "digest": _digest(writer.facts)}, text)
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


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left: half-made packs that nobody holds the lock of."""
    with contextlib.suppress(OSError):
        names = [name for name in os.listdir(folder) if name.endswith((".tmp", ".lock"))]
        for identity in {name.removesuffix(".lock").partition("-")[0] for name in names}:
            lock = Lock(folder / f"{identity}.lock")
            if lock.take() is not None:
                continue
            try:
                for half in (folder / name for name in names if name.startswith(f"{identity}-")):
                    if lock.kept or time.time() - half.stat().st_mtime > ABANDONED:
                        shutil.rmtree(half, ignore_errors=True)
            finally:
                lock.give_back()


def _load(target: Path) -> Pack | None:
    """The pack in that folder; None when there is none, or it is not whole."""
    try:
        kept = json.loads((target / "facts.json").read_text(encoding="utf-8"))
        facts = kept["facts"]
        if kept["digest"] != _digest(facts):
            return None
        images = np.load(target / "images.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, KeyError, TypeError, RecursionError):
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
