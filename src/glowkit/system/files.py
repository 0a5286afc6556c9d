"""Files that are whole or not there, and settings that are read with care."""

import errno
import json
import math
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from glowkit.system.errors import GlowkitError, shown
from glowkit.system.locks import grab, is_file, release

# Where the system's own words would puzzle the reader; elsewhere they are used as they are.
_REASONS = {
    errno.EEXIST: "a file stands where its folder should be",
    errno.ENOTDIR: "a file stands where its folder should be",
}
_TEMPORARY = re.compile(r"\.\d+-[0-9a-f]{12}\.tmp(\.[^.]*)?")  # process, chance, suffix
_LONGEST_SUFFIX = 16  # characters; what is longer names no format, and may leave no room
_seen: set[str] = set()
"""Folders this process has freed of what killed ones left."""


def cache_folder() -> Path:
    """What can be made again is kept in $GLOWKIT_CACHE, or ~/.cache/glowkit.

    Raises GlowkitError where there is neither.
    """
    given = os.environ.get("GLOWKIT_CACHE")
    try:
        return Path(given).expanduser() if given else Path.home() / ".cache" / "glowkit"
    except RuntimeError as error:
        raise GlowkitError(
            "there is no home folder to keep a cache in; name a folder in GLOWKIT_CACHE"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; it becomes `path` when the block ends well.

    Whatever happens, including a killed process, `path` holds either all of its old content or all
    of the new. Missing folders are made. The temporary name keeps the suffix, since libraries
    choose the format by it, and is never used twice: of several writers of a path the last one to
    end wins, whole. What killed processes left in the folder is removed when a process first
    writes there; a temporary is locked while its writer lives.

    `torch.save` hides why a write failed unless it is given an open file, and safetensors always
    does: hand the first `open(temporary, "wb")`, and write the bytes of the second.

    Raises GlowkitError when the disk is full, the folder is not writable and the like.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "notes.txt"
    >>> with replacing(path) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> path.read_text(), [entry.name for entry in path.parent.iterdir()]
    ('whole', ['notes.txt'])
    """
    path = Path(path)
    try:
        target = Path(os.path.realpath(path))  # a link stays a link; its target is replaced
    except OSError as error:  # of a relative path, when the working directory is gone
        raise GlowkitError(f"cannot write {path}: {_reason(error)}; nothing was written") from error
    suffix = target.suffix if len(target.suffix) <= _LONGEST_SUFFIX else ""
    temporary = target.with_name(f".{os.getpid()}-{uuid.uuid4().hex[:12]}.tmp{suffix}")
    lock = None
    try:
        if target.exists() and not target.is_file():  # a device, say, must not become a file
            kind = "a folder" if target.is_dir() else "not a regular file"
            raise GlowkitError(f"cannot write {path}: it is {kind}")
        target.parent.mkdir(parents=True, exist_ok=True)
        if str(target.parent) not in _seen:
            _seen.add(str(target.parent))
            remove_abandoned(target.parent)
        lock = _create_locked(temporary)
        yield temporary
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except GlowkitError:
        raise
    except Exception as error:
        cause = _system_error(error)
        if cause is None or cause.filename not in (None, *map(str, _about(temporary, target))):
            raise  # not a failure of this write: the block read another file, or has a mistake
        raise GlowkitError(f"cannot write {path}: {_reason(cause)}; {_rest(target)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
        if lock is not None:
            release(lock)
    _sync_folder(target.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, all of it or nothing; missing folders are made.

    Raises GlowkitError when the disk is full, the folder is not writable and the like; the previous
    file is then untouched.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporaries in a folder whose writers were killed; those of live ones stay."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if _TEMPORARY.fullmatch(name):
                _remove_unless_locked(folder / name)


def _create_locked(temporary: Path) -> int | None:
    """Make the file and lock it, so that nobody takes it for a killed process's.

    None where the system has no locks: leftovers stay there, since no one can tell.
    """
    while True:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            if grab(descriptor) and is_file(descriptor, temporary):
                return descriptor
        except OSError:
            os.close(descriptor)
            return None
        release(descriptor)  # taken for a leftover in the moment before it was locked
        with suppress(OSError):
            temporary.unlink()


def _remove_unless_locked(temporary: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(temporary, os.O_RDWR)
        try:
            if grab(descriptor):
                temporary.unlink()
        finally:
            release(descriptor)


def _about(temporary: Path, target: Path) -> list[Path]:
    """The paths whose errors are errors of this write."""
    return [temporary, target, *target.parents]


def _system_error(error: BaseException | None) -> OSError | None:
    """The error of the system behind an exception: torch.save wraps it in a RuntimeError."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _reason(error: OSError) -> str:
    if error.errno is None:  # raised by a library with a sentence of its own
        return str(error)
    return _REASONS.get(error.errno) or os.strerror(error.errno).lower()


def _rest(target: Path) -> str:
    try:
        untouched = target.exists()
    except OSError:
        untouched = False
    return "the previous file is untouched" if untouched else "nothing was written"


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can sync a folder."""
    with suppress(OSError):  # the file is whole either way; some file systems refuse
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


MOST_BYTES = 1 << 20
"""Of a file of settings; those that are written have about a thousand."""

MOST_DEPTH, MOST_VALUES = 20, 100_000
"""Of nested values. Those of YAML may refer to each other, so that few bytes can stand for many."""


def read_small(path: Path) -> str:
    """The text of a file of settings.

    Raises GlowkitError when it is no regular file, cannot be read, is too large or is not UTF-8.
    """
    if not os.path.isfile(path):
        raise GlowkitError(f"no such file: {path}")
    try:
        size = os.path.getsize(path)
        if size > MOST_BYTES:
            raise GlowkitError(
                f"{path} has {size:,} bytes, where settings have at most {MOST_BYTES:,}; it is"
                " damaged or another kind of file"
            )
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise GlowkitError(
            f"{path} is damaged: byte {error.start} is not of a text in UTF-8"
        ) from error
    except OSError as error:
        raise GlowkitError(f"{path} cannot be read: {error.strerror or error}") from error


def parse_json(text: str, constants: Mapping[str, float] = MappingProxyType({})) -> Any:
    """The value of a JSON text; constants: those of NaN and infinity that it may hold.

    Raises ValueError when it is none, and also for other constants, numbers too large for a float,
    a name that is given twice and nesting without end.

    >>> parse_json('{"steps": 8}')
    {'steps': 8}
    """

    def constant(name: str) -> float:
        return constants[name] if name in constants else _finite(name)

    try:
        found = json.loads(
            text, object_pairs_hook=_no_name_twice, parse_constant=constant, parse_float=_finite
        )
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    check_plain(found)
    return found


def check_plain(value: object) -> None:
    """Refuse what no settings hold: other than text, numbers, lists and names, and too much.

    Raises ValueError.
    """
    left, count = [(value, 0)], 0
    while left:
        outer, depth = left.pop()
        for inner in _inner(outer):
            count += 1
            if count > MOST_VALUES or depth > MOST_DEPTH:
                raise ValueError("it holds more, or nested deeper, than settings do")
            left.append((inner, depth + 1))


def _inner(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise ValueError("it has a name that is no text")
        return value.values()
    if isinstance(value, list):
        return value
    if value is None or isinstance(value, str | int | float):
        return ()
    raise ValueError(f"it holds a {type(value).__name__}, which is no setting")


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for name, value in pairs:
        if name in names:
            raise ValueError(f"{shown(name)} is given twice")
        names[name] = value
    return names


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:100]} is no number that a setting can have")
    return number
