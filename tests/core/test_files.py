"""Files are whole or untouched, and failures are said in one sentence."""

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from glowkit.system import files
from glowkit.system.errors import GlowkitError
from glowkit.system.files import replacing, write_atomically
from glowkit.system.locks import Lock, release


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(b"previous")
    return path


def assert_untouched(path: Path) -> None:
    assert_content(path, b"previous")


def assert_content(path: Path, content: bytes) -> None:
    assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_replaces_and_leaves_nothing_behind(previous: Path) -> None:
    write_atomically(previous, b"next")
    assert previous.read_bytes() == b"next"
    assert [entry.name for entry in previous.parent.iterdir()] == [previous.name]


def test_makes_missing_folders(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b" / "c.txt", b"text")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == b"text"


def test_temporary_stands_beside_the_file_with_its_suffix(previous: Path) -> None:
    with replacing(previous) as temporary:
        assert temporary.parent == previous.parent
        assert temporary.suffix == previous.suffix
        temporary.write_bytes(b"next")
        assert previous.read_bytes() == b"previous"


def test_synced_before_the_rename(previous: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noting_fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        calls.append("sync folder" if is_folder else "sync file")
        fsync(descriptor)

    def noting_replace(source: Path, target: Path) -> None:
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_replace)
    write_atomically(previous, b"next")
    assert calls == ["sync file", "rename", "sync folder"]


def test_a_link_stays_a_link(previous: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.bin"
    link.symlink_to(previous)
    write_atomically(link, b"next")
    assert link.is_symlink()
    assert previous.read_bytes() == b"next"


def test_writers_have_temporaries_of_their_own(previous: Path) -> None:
    with replacing(previous) as first, replacing(previous) as second:
        assert first != second
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    assert_content(previous, b"first")  # the block that ends last


def write_until_killed(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        print("half", flush=True)
        time.sleep(60)


@pytest.fixture
def writer(previous: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of replacing the file."""
    call = f"from pathlib import Path; test_files.write_until_killed(Path({str(previous)!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", f"import test_files; {call}"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "half\n"
        yield process
        process.kill()
        process.wait()


def test_what_a_killed_writer_left_is_removed_at_the_next_start(
    previous: Path, writer: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_seen", set())  # as in a process that has not written there yet
    write_atomically(previous.with_name("other"), b"")
    assert len(list(previous.parent.iterdir())) == 3  # that of a living writer stays
    writer.kill()
    writer.wait()
    files._seen.clear()
    write_atomically(previous.with_name("other"), b"")
    previous.with_name("other").unlink()
    assert_untouched(previous)


def test_a_forked_child_does_not_keep_a_lock(tmp_path: Path) -> None:
    lock = Lock(tmp_path / ".lock")
    assert lock.take() is None
    here, there = socket.socketpair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a fork of a process with threads
        child = os.fork()
    if child == 0:
        here.close()
        lock.give_back()  # not the child's to give
        there.send(b".")
        there.recv(1)  # until the parent is done with its checks, or has failed one
        os._exit(0)
    there.close()
    with here:
        here.recv(1)
        other = Lock(tmp_path / ".lock")
        assert other.take() == f"process {os.getpid()} on {socket.gethostname()}"
        assert lock._descriptor is not None
        release(lock._descriptor)  # as when this process is killed
        assert other.take() is None
        other.give_back()
    assert os.waitpid(child, 0)[1] == 0


def test_the_file_of_a_killed_holder_holds_nobody_off(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("process 1 on another host\n")
    lock = Lock(tmp_path / ".lock")
    assert lock.take() is None
    lock.give_back()
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_the_greatest_length(tmp_path: Path) -> None:
    for name in ("n" * 255, "n." + "s" * 253, "ü" * 127):
        write_atomically(tmp_path / name, b"whole")
        assert (tmp_path / name).read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(GlowkitError, match="file name too long; nothing was written"):
        write_atomically(tmp_path / ("n" * 256), b"")


def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(GlowkitError, match=r"cannot write a\.txt: no such file.*; nothing was"):
        write_atomically(Path("a.txt"), b"")


@pytest.mark.parametrize("error", [KeyboardInterrupt, KeyError, GlowkitError])
def test_other_exceptions_pass_through(previous: Path, error: type[BaseException]) -> None:
    def interrupted() -> None:
        with replacing(previous) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert_untouched(previous)


def test_an_error_of_another_file_passes_through(previous: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(previous):
        (tmp_path / "elsewhere.bin").read_bytes()
    assert_untouched(previous)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_in_one_sentence(
    previous: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(GlowkitError) as caught:
        write_atomically(previous, b"next")
    assert str(caught.value) == (
        f"cannot write {previous}: no space left on device; the previous file is untouched"
    )
    assert_untouched(previous)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 kB, where this process may mount one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting needs root")
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_really_full_disk(tiny_disk: Path) -> None:
    path = tiny_disk / "model.bin"
    path.write_bytes(b"previous")
    with pytest.raises(GlowkitError, match="no space left on device; the previous file is untou"):
        write_atomically(path, bytes(100_000))
    assert_untouched(path)


def test_really_full_disk_behind_torch_save(tiny_disk: Path) -> None:
    path = tiny_disk / "last.ckpt"
    path.write_bytes(b"previous")

    def save() -> None:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            torch.save({"weight": torch.zeros(100_000)}, file)

    with pytest.raises(GlowkitError, match="no space left on device"):
        save()
    assert_untouched(path)


def test_a_file_in_the_place_of_a_folder(previous: Path) -> None:
    with pytest.raises(GlowkitError, match="a file stands where its folder should be; nothing was"):
        write_atomically(previous / "deeper.bin", b"next")
    assert_untouched(previous)


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(GlowkitError, match="it is a folder"):
        write_atomically(tmp_path, b"next")


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(GlowkitError, match="not a regular file"):
        write_atomically(Path(os.devnull), b"next")
    assert not Path(os.devnull).is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(previous: Path) -> None:
    previous.parent.chmod(0o555)
    try:
        with pytest.raises(GlowkitError, match="permission denied; the previous file is untouched"):
            write_atomically(previous, b"next")
    finally:
        previous.parent.chmod(0o755)
