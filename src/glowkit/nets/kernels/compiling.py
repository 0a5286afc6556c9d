"""How the C of this folder becomes a library: from what, by which compiler, with which options.

Imports nothing but the standard library, because `setup.py` reads it where there is no torch.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent

# No -ffast-math: NaN must pass. What is left out are `errno` and traps, which nobody here reads.
OPTIONS = (
    *("-std=gnu11", "-O3", "-fPIC", "-shared"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
)

INSTRUCTIONS: dict[str, tuple[str, ...]] = {
    "AVX-512": (
        *("-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma"),
        "-mprefer-vector-width=512",
    ),
    "AVX2": ("-mavx2", "-mfma"),
    "SSE2": (),
    "NEON": (),
}
"""Instruction sets, and what tells a compiler of each beside what it takes by itself."""

_OF_MACHINES = {
    ("x86_64", "amd64"): ("AVX-512", "AVX2", "SSE2"),
    ("aarch64", "arm64"): ("NEON",),
}

COMPILERS = ("cc", "gcc", "clang")
LONGEST = 180.0  # seconds that a compiler gets; it needs three
LONGEST_ANSWER = 20.0  # seconds until it has said its version
_SHOWN = 200  # characters of what a compiler said


class NoKernels(Exception):
    """There is no library, for the reason said."""


@dataclass(frozen=True)
class Compiler:
    """A command, and the first line of its --version."""

    command: tuple[str, ...]
    version: str


def instructions_of(machine: str) -> tuple[str, ...]:
    """The instruction sets that there are kernels for, the largest first; none for other machines.

    machine: as `platform.machine()` has it.

    >>> instructions_of("arm64"), instructions_of("riscv64")
    (('NEON',), ())
    """
    for machines, sets in _OF_MACHINES.items():
        if machine.lower() in machines:
            return sets
    return ()


def library_name(instructions: str) -> str:
    """The file of an instruction set's library.

    >>> library_name("AVX-512")
    'libglowkit-avx512.so'
    """
    return f"libglowkit-{instructions.lower().replace('-', '')}.so"


def sources() -> list[Path]:
    """All C of this folder, headers too."""
    return sorted(path for path in FOLDER.iterdir() if path.suffix in (".c", ".h"))


def find_compiler() -> Compiler:
    """The compiler of the system, $CC before all others.

    Raises NoKernels when there is none, or it does not answer.
    """
    given = os.environ.get("CC", "").strip()
    try:
        commands = [shlex.split(given)] if given else [[name] for name in COMPILERS]
    except ValueError as error:
        raise NoKernels(f"CC is no command ({error}): {given}") from error
    for name, *more in commands:
        path = shutil.which(name)
        if path is None or _is_a_stub(path):
            continue
        said = _said([path, *more, "--version"], LONGEST_ANSWER)
        return Compiler((path, *more), (said.strip().splitlines() or [name])[0])
    if given:
        raise NoKernels(f"CC names a C compiler that is not there: {given}")
    raise NoKernels("there is no C compiler: no cc, gcc or clang is found")


def compile_library(
    compiler: Compiler, instructions: str, target: Path, files: Sequence[Path] | None = None
) -> None:
    """Compile files, by default all sources, into one library.

    Raises NoKernels with what the compiler said when it fails or takes too long.
    """
    files = [path for path in sources() if path.suffix == ".c"] if files is None else files
    options = [*OPTIONS, *INSTRUCTIONS[instructions]]
    _said([*compiler.command, *options, "-o", str(target), *map(str, files), "-lm"], LONGEST)


def _is_a_stub(path: str) -> bool:
    """Whether it is what macOS has in place of a compiler, which opens a window that offers one."""
    if sys.platform != "darwin" or not path.startswith("/usr/bin/"):
        return False
    try:
        _said(["/usr/bin/xcode-select", "-p"], LONGEST_ANSWER)
    except NoKernels:
        return True
    return False


def _said(command: Sequence[str], seconds: float) -> str:
    """Run a command to its end, and return what it printed."""
    name = os.path.basename(command[0])
    try:
        # A group of its own: what the compiler has started ends with it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=os.environ | {"LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as error:
        raise NoKernels(f"the C compiler {name} does not run: {error.strerror}") from error
    try:
        out, wrong = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise NoKernels(f"the C compiler {name} had not ended after {seconds:g} s") from error
    finally:
        if process.returncode is None:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        lines = [line.strip() for line in wrong.splitlines() if line.strip()]
        first = next((line for line in lines if "error" in line), (lines or ["nothing"])[-1])
        raise NoKernels(
            f"the C compiler {name} ended with {process.returncode} and said: {first[:_SHOWN]}"
        )
    return out
