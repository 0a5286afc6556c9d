"""The library of compiled kernels: shipped with the package, or compiled when it is first used.

Compiled by the system's compiler, it is kept in the user's cache, so that this happens once for
each version of the sources, of the compiler, and of the machine. Where neither is to be had there
is none, for a reason that `state` says, and networks are plain torch's.

GLOWKIT_KERNELS=0 in the environment switches it off.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from glowkit.nets.kernels import compiling
from glowkit.nets.kernels.compiling import Compiler, NoKernels
from glowkit.system.errors import GlowkitError
from glowkit.system.files import cache_folder, replacing
from glowkit.system.locks import Lock

VERSION = 2  # what `glow_version` of the C says: raise both when what is called changes
NUMBERS = ("glow_version", "glow_packs", "glow_scratch", "glow_hidden", "glow_tiles")
"""What gives a number back."""
SWITCH = "GLOWKIT_KERNELS"
TILES = "AMX-BF16"
LOOK_AGAIN = 0.05  # seconds between looks at a library that another process is making

THREADS = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")


@dataclass(frozen=True)
class State:
    """Which kernels run, or why none do, for people to read.

    instructions: the instruction set, "AVX-512", "AVX2", "SSE2" or "NEON"; empty for a machine that
    there are no kernels for. tiles: what multiplies bfloat16 beside it, "AMX-BF16" or nothing.
    path: the file, None where there is none or it is this process's alone. shipped: whether it came
    with the package. compiler: which it was compiled by here.
    threads: whether kernels run on as many threads as torch does. reason: why there is no library,
    else None. note: what is not as it should be with the one there is.
    """

    instructions: str = ""
    tiles: str = ""
    path: Path | None = None
    shipped: bool = False
    compiler: str | None = None
    threads: bool = True
    reason: str | None = None
    note: str | None = None

    def __str__(self) -> str:
        """A sentence.

        >>> print(State(reason="there is no C compiler: no cc, gcc or clang is found"))
        none, plain torch runs: there is no C compiler: no cc, gcc or clang is found
        >>> print(State("AVX2", path=Path("lib.so"), shipped=True))
        AVX2, shipped with the package
        >>> print(State("AVX-512", "AMX-BF16", Path("lib.so"), shipped=True))
        AVX-512 + AMX-BF16, shipped with the package
        """
        if self.reason is not None:
            return f"none, plain torch runs: {self.reason}"
        origin = "shipped with the package" if self.shipped else f"compiled by {self.compiler}"
        names = " + ".join(name for name in (self.instructions, self.tiles) if name)
        return f"{names}, {origin}" + (f" ({self.note})" if self.note else "")


def switched_off() -> bool:
    """Whether the environment says that kernels are not to run, now."""
    return os.environ.get(SWITCH) == "0"


def loaded() -> ctypes.CDLL | None:
    """The library, compiled if need be by the first call of all; None where there is none.

    Never raises: `state` says what is wrong. Later calls, from any thread, cost nothing.
    """
    return None if switched_off() else _once().library


def whatever_switched() -> ctypes.CDLL:
    """The library for what has begun with it, and is to end with it."""
    library = _once().library
    assert library is not None, "a kernel is called where there is none"
    return library


def state() -> State:
    """What `loaded` gives, in words."""
    if switched_off():
        return State(reason=f"switched off, by --no-kernels or {SWITCH}=0")
    return _once().state


def tiles() -> bool:
    """Whether its kernels multiply matrices of bfloat16 by tiles (Intel's AMX).

    They do where the processor has them, the system lets this process use them, and the compiler
    knew of them.
    """
    return loaded() is not None and _once().state.tiles != ""


@cache
def threads() -> tuple[int, int, int]:
    """Addresses of OpenMP's functions in the runtime that torch uses, in the order of THREADS.

    A runtime of its own would have threads of its own, which would fight with torch's. Zeros where
    torch has none: kernels then run on one thread.
    """
    try:
        # Symbols are looked for in what torch depends on, too.
        runtime = ctypes.CDLL(torch._C.__file__)
        first, second, third = (
            ctypes.cast(getattr(runtime, name), ctypes.c_void_p).value or 0 for name in THREADS
        )
    except (OSError, AttributeError):
        return 0, 0, 0
    return (first, second, third) if first and second and third else (0, 0, 0)


# ---- once a process ----


@dataclass(frozen=True)
class _Found:
    library: ctypes.CDLL | None
    state: State


_found: _Found | None = None
_guard = threading.Lock()


def _renew_guard() -> None:
    # Another thread may have held it at the fork: in the child nobody would give it back.
    global _guard
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_guard)


def _once() -> _Found:
    global _found
    if _found is None:
        with _guard:
            if _found is None:
                _found = _find()
    return _found


def _find() -> _Found:
    instructions = ""
    try:
        instructions = chosen()
        found = _shipped(instructions) or _compiled(instructions)
    except NoKernels as reason:
        return _Found(None, State(instructions, reason=str(reason)))
    except Exception as error:  # a faster way, never one more way to fail
        words = f"{type(error).__name__}: {error}"
        return _Found(None, State(instructions, reason=words))
    if found.library is not None and found.library.glow_tiles():
        found = replace(found, state=replace(found.state, tiles=TILES))
    if not threads()[0]:
        note = "on one thread, torch has no OpenMP here"
        found = replace(found, state=replace(found.state, threads=False, note=note))
    return found


def chosen() -> str:
    """The instruction set for this machine, by what torch itself has chosen.

    Raises NoKernels for a machine without one.
    """
    if sys.platform == "win32":
        raise NoKernels("they are not written for Windows")
    machine = platform.machine()
    sets = compiling.instructions_of(machine)
    if not sets:
        raise NoKernels(f"they are not written for a processor of the kind {machine}")
    capability = torch.backends.cpu.get_cpu_capability()
    known = {"AVX512": "AVX-512", "AVX2": "AVX2"}.get(capability, sets[-1])
    return known if known in sets else sets[-1]


def _opened(path: Path) -> ctypes.CDLL:
    """The library in a file; OSError where it is none, or is of another version."""
    library = ctypes.CDLL(str(path))
    try:
        version = library.glow_version
    except AttributeError as error:
        raise OSError(f"{path} is no library of kernels") from error
    for name in NUMBERS:
        getattr(library, name).restype = ctypes.c_int64
    if version() != VERSION:
        raise OSError(f"{path} is of version {version()}, and {VERSION} is called")
    return library


def _shipped(instructions: str) -> _Found | None:
    path = compiling.FOLDER / compiling.library_name(instructions)
    if path.exists():
        with suppress(OSError):
            return _Found(_opened(path), State(instructions, path=path, shipped=True))
    return None


# ---- compiled here ----


def _compiled(instructions: str) -> _Found:
    """The library from the cache, or compiled and kept there for others; NoKernels for neither."""
    compiler = compiling.find_compiler()
    key = _key(instructions, compiler)
    said = State(instructions, compiler=compiler.version)
    try:
        folder = cache_folder() / "kernels"
    except GlowkitError as error:
        return _made(compiler, said, None, key, str(error))
    if found := _kept(folder, key, said):
        return found
    with _only_maker(folder, key) as trouble:
        return _kept(folder, key, said) or _made(compiler, said, folder, key, trouble)


def _key(instructions: str, compiler: Compiler) -> str:
    """A name for all that a library is made of."""
    made_of = hashlib.sha256()
    options = compiling.OPTIONS + compiling.INSTRUCTIONS[instructions]
    for word in (instructions, platform.machine(), *options, *compiler.command, compiler.version):
        made_of.update(word.encode() + b"\0")
    for path in compiling.sources():
        made_of.update(path.name.encode() + b"\0" + _digest(path).encode())
    return made_of.hexdigest()[:16]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _kept(folder: Path, key: str, said: State) -> _Found | None:
    """A library from the cache, if it is whole.

    Its name ends with a digest of its content: one that was cut short would end the process.
    """
    with suppress(OSError):
        for path in folder.glob(f"{key}-*.so"):
            if not (_is_ours(folder) and _is_ours(path)):
                continue
            if path.stem != f"{key}-{_digest(path)}":
                with suppress(OSError):
                    path.unlink()
                continue
            with suppress(OSError):  # on a disk that nothing may be run from
                return _Found(_opened(path), replace(said, path=path))
    return None


def _is_ours(path: Path) -> bool:
    """Whether nobody else can have written it: a library is code that is run."""
    status = path.stat()
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@contextmanager
def _only_maker(folder: Path, key: str) -> Iterator[str | None]:
    """Wait until no other process makes this library; yields what is wrong with the cache if so."""
    lock, trouble = Lock(folder / f"{key}.lock"), None
    until = time.monotonic() + compiling.LONGEST
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while lock.take() is not None and time.monotonic() < until:
            time.sleep(LOOK_AGAIN)
    except OSError as error:
        trouble = (error.strerror or str(error)).lower()
    try:
        yield trouble
    finally:
        lock.give_back()


def _made(
    compiler: Compiler, said: State, folder: Path | None, key: str, trouble: str | None
) -> _Found:
    """Compile it, and keep it where the cache can be written; else it is for this process alone."""
    try:
        temporary = tempfile.TemporaryDirectory(prefix="glowkit-", ignore_cleanup_errors=True)
    except OSError as error:
        raise NoKernels(f"there is no temporary folder to compile in: {error.strerror}") from error
    with temporary as place:
        fresh = Path(place) / compiling.library_name(said.instructions)
        compiling.compile_library(compiler, said.instructions, fresh)
        if folder is not None and trouble is None:
            try:
                if not _is_ours(folder):
                    raise OSError("others can write into it")
                path = folder / f"{key}-{_digest(fresh)}.so"
                with replacing(path) as half:
                    shutil.copyfile(fresh, half)
                    half.chmod(0o700)
                try:
                    return _Found(_opened(path), replace(said, path=path))
                except OSError:
                    path.unlink()
                    raise
            except (OSError, GlowkitError) as error:
                trouble = str(error)
        where = f"the cache {folder} cannot be used: {trouble}" if folder else trouble
        note = f"for this process alone, {where}"
        try:
            # The file can go once it is open.
            return _Found(_opened(fresh), replace(said, note=note))
        except OSError as error:
            raise NoKernels(f"what was compiled cannot be used: {error}") from error
