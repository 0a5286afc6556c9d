"""Files: the same on every machine, refused when damaged, and short of a few words besides."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

import glowkit
from coding.decodes import FILES, HERE, VERSIONS
from coding.models import digits, glow, trained
from glowkit.core import GlowkitError
from glowkit.tasks.coding.container import compress, decompress
from glowkit.tasks.coding.header import MAGIC

DIGITS, FIRST = (HERE / "files" / name for name in ("digits.glwk", "digits-1.glwk"))
DIGITS, FIRST = DIGITS.read_bytes(), FIRST.read_bytes()


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
    assert compress(model, images, labels if model.classes else None, verify=False) == data


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
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


def damaged_on_purpose(count: int) -> None:
    model, random, told = glowkit.load(FILES["digits"][0]), np.random.default_rng(1), set()
    right, _ = decompress(model, DIGITS)
    for _ in range(count):
        data = bytearray(DIGITS)
        data[random.integers(4, len(data) - 4)] ^= int(random.integers(1, 256))
        with pytest.raises(GlowkitError) as refused:
            decompress(model, resealed(bytes(data)))
        told.add(str(refused.value).split(";")[0])
    assert len(told) > 1
    assert torch.equal(decompress(model, DIGITS)[0], right)


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
        (DIGITS[:30], "ends in its header"),
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
        decompress(model, resealed(DIGITS[:48] + b"\xff\xff\xff\xff\x0f\x01" + DIGITS[50:]))
    count = struct.pack("<I", 1 << 28)
    large = DIGITS[:39] + count + DIGITS[43:48] + b"\x80\x80\x80\x80\x01\x01" + DIGITS[-4:]
    with pytest.raises(GlowkitError, match="batches are too large"):
        decompress(model, resealed(large))


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
