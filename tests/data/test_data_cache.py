"""The cache: used again, made anew when files change, whole or absent."""

import errno
import multiprocessing
import os
import shutil
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from glowkit.data import cache as cache_module
from glowkit.data import open_source, packing
from glowkit.system import locks
from glowkit.system.errors import GlowkitError
from glowkit.system.files import cache_folder


@pytest.fixture
def images(folder, save):
    for k in range(4):
        save(f"{k}.png")
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """The files decoded so far."""
    calls = []
    read = packing.read_pixels

    def counting(data, request):
        calls.append(data.name)
        return read(data, request)

    monkeypatch.setattr(packing, "read_pixels", counting)
    return calls


def test_images_are_decoded_once(images, decoded):
    first = open_source(str(images))
    second = open_source(str(images))
    assert sorted(decoded) == ["0.png", "1.png", "2.png", "3.png"]
    assert (first.splits["train"].images == second.splits["train"].images).all()
    assert first.notes == second.notes


def test_a_changed_file_makes_it_anew_and_removes_the_old(images, save, decoded, cache):
    open_source(str(images))
    changed = save("1.png", "L").stat()
    os.utime(images / "1.png", ns=(0, changed.st_mtime_ns + 1))
    open_source(str(images))
    assert len(decoded) == 8
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("change", ["add", "remove"])
def test_another_set_of_files_makes_it_anew(images, save, decoded, change):
    open_source(str(images))
    if change == "add":
        save("new.png")
    else:
        (images / "0.png").unlink()
    source = open_source(str(images))
    assert len(source.splits["train"].images) == {"add": 5, "remove": 3}[change]


def test_options_have_packs_of_their_own(images, cache):
    open_source(str(images))
    open_source(str(images), size=4)
    open_source(str(images), channels=1)
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize("file", ["images.npy", "facts.json"])
def test_a_damaged_pack_is_made_anew(images, cache, file):
    before = np.array(open_source(str(images)).splits["train"].images)
    (damaged,) = cache.glob(f"*/{file}")
    damaged.write_bytes(damaged.read_bytes()[: 150 if file == "images.npy" else 5])
    assert (open_source(str(images)).splits["train"].images == before).all()


@pytest.mark.parametrize("facts", ["[]", "{}", "7", "[" * 100_000, '{"facts": {}, "digest": ""}'])
def test_facts_that_are_none_are_found_anew(images, cache, facts):
    before = np.array(open_source(str(images)).splits["train"].images)
    (damaged,) = cache.glob("*/facts.json")
    damaged.write_text(facts)
    assert (open_source(str(images)).splits["train"].images == before).all()


def test_a_changed_fact_is_seen(images, cache):
    before = open_source(str(images)).pixel_levels
    (damaged,) = cache.glob("*/facts.json")
    damaged.write_text(damaged.read_text().replace(str(before), "253"))
    assert open_source(str(images)).pixel_levels == before


def test_an_interrupted_pass_leaves_nothing(images, cache, monkeypatch):
    def interrupt(writer, pixels):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache_module.PackWriter, "append", interrupt)
        with pytest.raises(KeyboardInterrupt):
            open_source(str(images))
    assert list(cache.iterdir()) == []
    assert len(open_source(str(images)).splits["train"].images) == 4


def packing_process(images, cache, started, go_on):
    """Pack the images, but stay in the middle of it until told to go on."""
    os.environ["GLOWKIT_CACHE"] = str(cache)
    append = cache_module.PackWriter.append

    def waiting(writer, pixels):
        append(writer, pixels)
        started.set()
        go_on.wait(60)

    cache_module.PackWriter.append = waiting
    open_source(str(images))


@pytest.fixture
def packer(images, cache):
    """A process in the middle of packing the images; `go_on` lets it end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["glowkit.data.folder", "glowkit.training.fit"])
    started, go_on = context.Event(), context.Event()
    process = context.Process(target=packing_process, args=(images, cache, started, go_on))
    process.start()
    assert started.wait(60)
    process.go_on = go_on
    yield process
    process.kill()
    process.join()


def test_what_a_killed_process_left_is_removed_at_the_next_start(images, cache, packer, tmp_path):
    packer.kill()
    packer.join()
    assert any(path.suffix == ".tmp" for path in cache.iterdir())
    other = tmp_path / "other"  # the next start is with other data
    shutil.copytree(images, other)
    open_source(str(other))
    (pack,) = cache.iterdir()
    assert pack.is_dir()
    assert pack.suffix != ".tmp"


def test_what_a_living_process_makes_stays(images, cache, packer, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(images, other)
    open_source(str(other))
    packer.go_on.set()
    packer.join(60)
    assert packer.exitcode == 0
    assert len(list(cache.iterdir())) == 2


def test_one_packs_and_the_other_waits(images, cache, packer, decoded, capfd):
    timer = threading.Timer(0.5, packer.go_on.set)
    timer.start()
    source = open_source(str(images))
    timer.join()
    assert decoded == []
    assert len(source.splits["train"].images) == 4
    said = f"waiting for process {packer.pid} on {socket.gethostname()}, which is packing {images}"
    assert capfd.readouterr().err.splitlines() == [said]
    packer.join(60)
    assert packer.exitcode == 0
    assert len(list(cache.iterdir())) == 1


def test_the_one_that_waits_packs_when_the_other_is_killed(images, cache, packer, decoded):
    timer = threading.Timer(0.5, packer.kill)
    timer.start()
    assert len(open_source(str(images)).splits["train"].images) == 4
    timer.join()
    assert len(decoded) == 4


def test_without_locks_only_old_remains_are_removed(images, cache, save, monkeypatch):
    def none(descriptor):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks, "grab", none)
    open_source(str(images))
    identity = next(cache.glob("*-*")).name.partition("-")[0]
    old, recent = cache / f"{identity}-a.tmp", cache / f"{identity}-b.tmp"
    old.mkdir()
    recent.mkdir()
    os.utime(old, (0, 0))
    save("new.png")
    open_source(str(images))
    assert not old.exists()
    assert recent.exists()


def test_another_process_was_first(images, cache, tmp_path, monkeypatch):
    open_source(str(images))
    shutil.move(cache, tmp_path / "theirs")
    rename = os.rename

    def late(source, target):
        shutil.copytree(tmp_path / "theirs", cache, dirs_exist_ok=True)
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    assert len(open_source(str(images)).splits["train"].images) == 4
    assert len(list(cache.iterdir())) == 1


def test_cache_below_a_file(images, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GLOWKIT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(GlowkitError, match=r"image cache .* cannot be written .*GLOWKIT_CACHE"):
        open_source(str(images))


def test_full_disk(images, cache, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GlowkitError, match=r"disk of the image cache .* is full"):
        open_source(str(images))
    assert list(cache.iterdir()) == []


def test_default_place(monkeypatch, tmp_path):
    monkeypatch.delenv("GLOWKIT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "glowkit"


@pytest.mark.parametrize("given", [None, "~nobody-of-this-name/cache"])
def test_without_a_home(monkeypatch, given):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("GLOWKIT_CACHE", raising=False)
    if given:
        monkeypatch.setenv("GLOWKIT_CACHE", given)
    with pytest.raises(GlowkitError, match="GLOWKIT_CACHE"):
        cache_folder()
