"""Files: the same on every machine, refused when damaged, and short of a few words besides."""

import binascii
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import glowkit
from coding.decodes import FILES, HERE, VERSIONS, made
from coding.models import digits, glow, trained
from glowkit.core import GlowkitError
from glowkit.tasks.coding import Codec
from glowkit.tasks.coding.container import decompress
from glowkit.tasks.coding.header import LABELS, MAGIC, file_of, parsed, plan_bytes
from glowkit.tasks.coding.mixing import ContextMixing
from glowkit.tasks.coding.stack import Stack

DIGITS = (HERE / "files" / "digits.glwk").read_bytes()
FIRST = (HERE / "files" / "digits-1.glwk").read_bytes()


def numpy_without() -> str:
    """The instruction sets that numpy is to leave out: all but those it cannot do without."""
    return " ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", []))  # type: ignore[index,call-overload]


LEAST = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Prescott",
    "NPY_DISABLE_CPU_FEATURES": numpy_without(),
    "GLOWKIT_KERNELS": "0",
}


def decodes(**surroundings: str) -> None:
    """Whether a process of its own decodes the committed files, and makes them again."""
    root = HERE.parents[1]
    path = os.pathsep.join([str(root / "src"), str(root / "tests")])
    done = subprocess.run(
        [sys.executable, str(HERE / "decodes.py")],
        env={**os.environ, "PYTHONPATH": path, **surroundings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the same" in done.stdout


def test_files_are_the_same_without_modern_instructions() -> None:
    decodes(**LEAST)


@pytest.mark.slow
@pytest.mark.parametrize("one", [*LEAST, "ATEN_CPU_CAPABILITY=avx2", "OMP_NUM_THREADS=2", "none"])
def test_files_are_the_same_everywhere(one: str) -> None:
    name, _, value = one.partition("=")
    decodes(**({} if one == "none" else {name: value or LEAST[name]}))


@pytest.mark.parametrize("name", FILES)
def test_files_are_the_same_here(name: str) -> None:
    folder, count = FILES[name]
    model, (images, labels) = glowkit.load(folder), digits(count)
    for version in VERSIONS:
        data = (HERE / "files" / f"{name}{version}.glwk").read_bytes()
        again, context = decompress(model, data)
        assert torch.equal(again, images)
        assert context is None or torch.equal(context, labels)
    assert made(name) == data


def flipped(count: int) -> None:
    model = glowkit.load(FILES["digits"][0])
    random = np.random.default_rng(0)
    for _ in range(count):
        data = bytearray(DIGITS)
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        with pytest.raises(GlowkitError):
            decompress(model, bytes(data))


def test_flipped_bits_are_noticed() -> None:
    flipped(60)


@pytest.mark.slow
def test_a_thousand_flipped_bits_are_noticed() -> None:
    flipped(1000)


def resealed(data: bytes) -> bytes:
    """Damage that its author took care to hide from the checksum of the file."""
    if data[4] == 1:
        return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))
    return data[:-2] + struct.pack("<H", binascii.crc_hqx(data[:-2], 0))


def damaged_on_purpose(count: int) -> None:
    model, random, told = glowkit.load(FILES["digits"][0]), np.random.default_rng(1), set()
    whole, _ = decompress(model, FIRST)
    for _ in range(count):
        for right in (DIGITS, FIRST):
            data = bytearray(right)
            data[random.integers(6, len(data) - 4)] ^= int(random.integers(1, 256))
            try:
                images, _ = decompress(model, resealed(bytes(data)))
            except GlowkitError as refused:
                told.add(str(refused).split(";")[0])
            else:  # version 1 has the shape too, which is not read: the model says it
                assert right is FIRST
                assert torch.equal(images, whole)
    assert len(told) > 1


def test_even_what_fits_the_checksum_gives_no_wrong_images() -> None:
    damaged_on_purpose(4)


@pytest.mark.slow
def test_even_a_hundred_that_fit_the_checksum_give_no_wrong_images() -> None:
    damaged_on_purpose(100)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no file of glowkit compress"),
        (b"\x89PNG" + DIGITS[4:], "no file of glowkit compress"),
        (DIGITS[:5], "ends in its header"),
        (DIGITS[:12], "ends in its header"),
        (FIRST[:30], "ends in its header"),
        (FIRST[:-1], "its end is missing"),
        (DIGITS[:-1], "its end is missing"),
        (DIGITS + b"\0", "its end is missing"),
        (MAGIC + b"\x09\0" + DIGITS[6:], "of version 9"),
    ],
)
def test_what_is_no_whole_file(data: bytes, sentence: str) -> None:
    with pytest.raises(GlowkitError, match=sentence):
        decompress(glowkit.load(FILES["digits"][0]), data)


def test_a_plan_that_asks_for_too_much_is_refused() -> None:
    model = glowkit.load(FILES["digits"][0])
    with pytest.raises(GlowkitError, match="plan is not of its images"):
        decompress(model, resealed(FIRST[:48] + b"\xff\xff\xff\xff\x0f\x01" + FIRST[50:]))
    with pytest.raises(GlowkitError, match="plan is not of its images"):
        decompress(model, claiming([(0, 1 << 30)], count=40))
    with pytest.raises(GlowkitError, match="batches are too large"):
        decompress(model, claiming([(1 << 28, 1)]))


def claiming(plan: list[tuple[int, int]], count: int | None = None) -> bytes:
    """The words of the committed file under a header of other images, with its checksum right."""
    model = glowkit.load(FILES["digits"][0])
    count = sum(max(size, 1) * repeats for size, repeats in plan) if count is None else count
    return file_of(Codec.compile(model), 0, count, plan, parsed(DIGITS)[2].tobytes())


@pytest.mark.parametrize(
    "plan",
    [[(0, 1 << 24)], [(0, 5), (256, 1 << 16)], [(0, 5), (1 << 20, 1)], [(0, 5), (1, 9), (0, 9999)]],
)
def test_a_header_that_claims_what_the_file_has_not(
    plan: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused as soon as its bits are used up: work is bounded by the file's own length."""
    model, popped = glowkit.load(FILES["digits"][0]), list[int]()
    mixed, batch = ContextMixing.pop, Codec.decode

    def one(mixing: ContextMixing, stack: Stack) -> Any:
        popped.append(1)
        return mixed(mixing, stack)

    def many(codec: Codec, stack: Stack, n: int, given: Any) -> Any:
        popped.append(n)
        return batch(codec, stack, n, given)

    monkeypatch.setattr(ContextMixing, "pop", one)
    monkeypatch.setattr(Codec, "decode", many)
    with pytest.raises(GlowkitError, match="it claims more images than it holds"):
        decompress(model, claiming(plan))
    assert sum(popped) < 300


def test_a_file_of_the_first_version_that_claims_too_much() -> None:
    model = glowkit.load(FILES["digits"][0])
    head = FIRST[:39] + struct.pack("<I", 1 << 24) + FIRST[43:48]
    for plan in ([(0, 1 << 24)], [(256, 1 << 16)]):
        with pytest.raises(GlowkitError, match="it claims more images than it holds"):
            decompress(model, resealed(head + plan_bytes(plan) + b"\1" * 400 + FIRST[-4:]))


def test_labels_that_a_file_cannot_hold_are_not_made_room_for() -> None:
    model = glowkit.load(FILES["curves"][0])
    data = file_of(Codec.compile(model), LABELS, 1 << 34, [(256, 1 << 26)], b"\1" * 48)
    with pytest.raises(GlowkitError, match="it claims more images than it holds"):
        decompress(model, data)


def test_another_model_is_refused() -> None:
    for other in (glowkit.load(FILES["curves"][0]), trained(glow())):
        with pytest.raises(GlowkitError, match="with another model"):
            decompress(other, DIGITS)
    model = glowkit.load(FILES["digits"][0])
    with torch.no_grad():
        next(model.parameters()).add_(0.01)
    with pytest.raises(GlowkitError, match="with another model"):
        decompress(model, DIGITS)


def test_paths_are_not_bytes(tmp_path: Path) -> None:
    with pytest.raises(GlowkitError, match=r"read the file first"):
        decompress(glowkit.load(FILES["digits"][0]), tmp_path / "x.glwk")  # type: ignore[arg-type]
