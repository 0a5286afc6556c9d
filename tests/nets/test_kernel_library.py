"""The library of kernels: compiled once, kept whole, and plain torch where there is none."""

import ctypes
import os
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from glowkit.nets.kernels import compiling, library

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are none for Windows")

Log = Path


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that a compiler of this system made."""
    try:
        compiler = compiling.find_compiler()
        target = tmp_path_factory.mktemp("kernels") / "real.so"
        compiling.compile_library(compiler, library.chosen(), target)
    except compiling.NoKernels as reason:
        pytest.skip(str(reason))
    return target


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process that has not looked for a library yet, and an empty cache."""
    monkeypatch.delenv("GLOWKIT_KERNELS", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("GLOWKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library, "_found", None)
    # What another test shipped is none of these tests' business.
    monkeypatch.setattr(library, "_shipped", lambda instructions: None)
    return tmp_path / "cache" / "kernels"


def script(path: Path, lines: str) -> Path:
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def log(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    """A quick compiler, which hands out the real library, and a line for each time it did."""
    log = tmp_path / "log"
    log.touch()
    quick = script(
        tmp_path / "quick",
        f"""
        [ "$1" = --version ] && echo "quick 1.0" && exit
        sleep 0.3
        while [ "$1" != -o ]; do shift; done
        cp '{real}' "$2" && echo compiled >> '{log}'
        """,
    )
    monkeypatch.setenv("CC", str(quick))
    return log


def times(log: Log) -> int:
    return len(log.read_text().splitlines())


def again(monkeypatch: pytest.MonkeyPatch) -> library.State:
    """What a process that starts now finds."""
    monkeypatch.setattr(library, "_found", None)
    return library.state()


def test_it_is_compiled_once_and_kept(
    log: Log, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = library.loaded()
    assert isinstance(found, ctypes.CDLL)
    assert found.glow_version() == library.VERSION
    assert library.loaded() is found
    state = again(monkeypatch)
    assert (state.compiler, state.shipped) == ("quick 1.0", False)
    assert (state.note, state.reason) == (None, None)
    assert times(log) == 1
    assert [state.path] == list(place.iterdir())  # and no lock, and nothing half made
    assert state.instructions in str(state)


def test_another_compiler_source_or_option_makes_another(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {library.state().path}
    quick = Path(os.environ["CC"])
    quick.write_text(quick.read_text().replace("quick 1.0", "quick 1.1"))
    paths.add(again(monkeypatch).path)
    monkeypatch.setattr(compiling, "OPTIONS", (*compiling.OPTIONS, "-g"))
    paths.add(again(monkeypatch).path)
    changed = shutil.copytree(compiling.FOLDER, tmp_path / "sources")
    header = next(changed.glob("*.h"))
    header.write_text(header.read_text() + "\n")
    monkeypatch.setattr(compiling, "FOLDER", changed)
    paths.add(again(monkeypatch).path)
    assert len(paths) == times(log) == 4


CODE = """
import sys
from glowkit.nets.kernels import library
library._shipped = lambda instructions: None
print("ready", flush=True)
sys.stdin.readline()
print(library.state().path)
"""


def test_processes_that_start_at_once_compile_it_once(log: Log, place: Path) -> None:
    line = [sys.executable, "-c", CODE]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    paths = [process.communicate(timeout=60)[0].strip() for process in both]
    assert times(log) == 1
    assert paths == [str(path) for path in place.glob("*.so")] * 2


def test_threads_compile_it_once(log: Log) -> None:
    found: list[ctypes.CDLL | None] = []
    threads = [threading.Thread(target=lambda: found.append(library.loaded())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert times(log) == 1
    assert len({id(one) for one in found}) == 1


def test_what_a_killed_process_left_is_in_nobodys_way(log: Log, place: Path) -> None:
    compiler = compiling.find_compiler()
    place.mkdir(parents=True)
    (place / f"{library._key(library.chosen(), compiler)}.lock").touch()
    assert library.state().path is not None


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_a_file_that_was_cut_is_made_anew(
    log: Log, monkeypatch: pytest.MonkeyPatch, keep: float
) -> None:
    path = library.state().path
    assert path is not None
    whole = path.read_bytes()
    path.unlink()  # cut the file in place, and the library that this process has open is cut
    path.write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    path.chmod(0o700)
    assert again(monkeypatch).reason is None
    assert times(log) == 2
    assert path.read_bytes() == whole


def test_a_file_that_others_can_write_is_not_loaded(
    log: Log, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    path = library.state().path
    assert path is not None
    path.chmod(0o777)
    assert again(monkeypatch).reason is None
    assert times(log) == 2
    assert not path.stat().st_mode & 0o22
    place.chmod(0o777)
    state = again(monkeypatch)
    assert (state.path, times(log)) == (None, 3)
    assert "others can write" in str(state)


@pytest.mark.parametrize("trouble", ["a file in its place", "no home", "no rights"])
def test_a_cache_that_cannot_be_written(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if trouble == "a file in its place":
        (tmp_path / "cache").touch()
    elif trouble == "no home":
        monkeypatch.setenv("GLOWKIT_CACHE", "~nobody-of-this-name/cache")
    else:  # for root, who may write everywhere, too
        monkeypatch.setattr(Path, "mkdir", lambda *a, **k: (_ for _ in ()).throw(PermissionError))
    found, state = library.loaded(), library.state()
    assert found is not None
    assert found.glow_version() == library.VERSION
    assert state.path is None
    assert "for this process alone" in str(state)
    assert not list(tmp_path.glob("glowkit-*"))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('[ "$1" = --version ] || { echo "step.c:1: error: no" >&2; exit 1; }', "error: no"),
        ("exit 3", "ended with 3"),
        ("sleep 1000", "had not ended after 0.5 s"),
        ("[ $1 = --version ] || sleep 1000", "had not ended after 0.5 s"),
        ("true", "cannot be used"),  # says that it did, and did not
        ('[ "$1" = --version ] || { while [ "$1" != -o ]; do shift; done; echo > "$2"; }', "used"),
    ],
)
def test_a_compiler_that_is_broken(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, words: str
) -> None:
    monkeypatch.setattr(compiling, "LONGEST", 0.5)
    monkeypatch.setattr(compiling, "LONGEST_ANSWER", 0.5)
    monkeypatch.setenv("CC", str(script(tmp_path / "broken", lines)))
    assert library.loaded() is None
    assert words in str(library.state())
    monkeypatch.delenv("CC")
    assert library.loaded() is None  # put right, but there is one attempt a process
    assert not [*place.glob("*")]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PATH", "/nowhere", "no cc, gcc or clang"),
        ("CC", "/nowhere/cc", "CC names a C compiler that is not there"),
        ("CC", "'", "CC is no command"),
        ("CC", "/", "CC names a C compiler"),
    ],
)
def test_no_compiler(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    monkeypatch.setenv(name, value)
    assert library.loaded() is None
    assert words in str(library.state())


def test_a_mistake_of_ours_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(instructions: str) -> None:
        raise KeyError("wrong")

    monkeypatch.setattr(library, "_compiled", wrong)
    assert library.loaded() is None
    assert library.state().reason == "KeyError: 'wrong'"


def test_it_can_be_switched_off_at_any_time(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOWKIT_KERNELS", "0")
    assert library.loaded() is None
    assert "switched off" in str(library.state())
    assert times(log) == 0
    monkeypatch.delenv("GLOWKIT_KERNELS")
    assert library.loaded() is not None
    monkeypatch.setenv("GLOWKIT_KERNELS", "0")
    assert library.loaded() is None


@pytest.mark.parametrize(
    ("system", "machine", "capability", "wanted"),
    [
        ("linux", "x86_64", "AVX512", "AVX-512"),
        ("linux", "x86_64", "AVX2", "AVX2"),
        ("linux", "x86_64", "DEFAULT", "SSE2"),
        ("linux", "aarch64", "DEFAULT", "NEON"),
        ("linux", "aarch64", "SVE256", "NEON"),
        ("darwin", "arm64", "DEFAULT", "NEON"),
        ("linux", "ppc64le", "VSX", "the kind ppc64le"),
        ("win32", "AMD64", "AVX2", "Windows"),
    ],
)
def test_instructions_are_those_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, capability: str, wanted: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    if wanted in compiling.INSTRUCTIONS:
        assert library.chosen() == wanted
    else:
        with pytest.raises(compiling.NoKernels, match=wanted):
            library.chosen()


class TestShipped:
    @pytest.fixture(autouse=True)
    def shipping(
        self, real: Path, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Path]:
        """A package with a library inside, which is yielded."""
        folder = shutil.copytree(compiling.FOLDER, tmp_path / "shipped")
        path = folder / compiling.library_name(library.chosen())
        shutil.copyfile(real, path)
        monkeypatch.undo()
        monkeypatch.setenv("GLOWKIT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("CC", str(tmp_path / "quick"))
        monkeypatch.setattr(compiling, "FOLDER", folder)
        monkeypatch.setattr(library, "_found", None)
        return path

    def test_it_is_used_and_nothing_compiled(
        self, log: Log, shipping: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CC", "/nowhere/cc")
        state = library.state()
        assert (state.path, state.shipped, times(log)) == (shipping, True, 0)

    def test_one_of_another_version_is_not(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(library, "VERSION", library.VERSION + 1)
        assert library.loaded() is None
        assert "is of version" in str(library.state())
        assert times(log) == 1

    def test_nor_one_that_is_broken(self, log: Log, shipping: Path) -> None:
        shipping.write_text("no library")
        assert (library.state().shipped, times(log)) == (False, 1)


def test_torch_lends_its_threads(real: Path) -> None:
    addresses = library.threads()
    assert len(addresses) == len(library.THREADS)
    assert all(addresses) or not any(addresses)
    if all(addresses):
        assert ctypes.CFUNCTYPE(ctypes.c_int)(addresses[1])() == 0  # outside of any team


def test_without_threads_it_says_so(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "threads", lambda: (0, 0, 0))
    assert "one thread" in str(library.state())
    assert not library.state().threads


def test_a_forked_child_finds_it(log: Log) -> None:
    """As a worker of a DataLoader: even one forked while another thread looks for the library."""
    with library._guard, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a fork of a process with threads
        child = os.fork()
        if child == 0:
            os._exit(0 if library.loaded() is not None else 1)
    assert os.waitpid(child, 0)[1] == 0
