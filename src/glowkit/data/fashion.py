"""Fashion-MNIST, and the IDX files that it comes in."""

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from glowkit.data.levels import whole_levels
from glowkit.data.source import ImageSplit, Source
from glowkit.system.arrays import check_expansion
from glowkit.system.errors import GlowkitError

UNSIGNED_BYTE = 8  # the third byte of the magic number names the element type
MOST_AXES = 4  # images in colour


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array in an IDX file, of the shape its header gives.

    The header is checked against the file's size before anything is made of it. Raises
    GlowkitError when the file is unreadable, not IDX, not bytes, too short or too long.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not zipped:
                return _read(path, file, size)
            with gzip.open(file) as unpacked:
                return _read(path, unpacked, size, zipped=True)
    except EOFError:
        raise GlowkitError(f"{path} is truncated: fetch the file again") from None
    except (OSError, zlib.error) as error:
        raise GlowkitError(f"{path} cannot be read ({error}): fetch the file again") from None


def _read(
    path: Path, file: IO[bytes] | gzip.GzipFile, size: int, zipped: bool = False
) -> np.ndarray:
    start = file.read(4)
    if len(start) < 4 or start[:3] != bytes([0, 0, UNSIGNED_BYTE]) or start[3] > MOST_AXES:
        raise GlowkitError(f"{path} is not an IDX file of bytes: fetch the file again")
    axes = start[3]
    counts = file.read(4 * axes)
    if len(counts) < 4 * axes:
        raise GlowkitError(f"{path} is truncated within its header: fetch the file again")
    shape = tuple(int(n) for n in np.frombuffer(counts, ">u4", axes))
    expected = math.prod(shape)
    if zipped:
        check_expansion(str(path), expected, size)
    found = 0 if zipped else size - 4 - 4 * axes
    if zipped or found == expected:
        data = file.read(expected)
        found = len(data) + len(file.read(1))
    if found != expected:
        what = "is truncated" if found < expected else "is too long"
        raise GlowkitError(
            f"{path} {what}: its header promises {expected} bytes and {found} follow"
            f"{' at least' * (zipped and found > expected)}; fetch the file again"
        )
    return np.ndarray(shape, np.uint8, data)


DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
VALIDATION = 5000  # the last images of the training file


def open_fashion(
    name: str = "fashion-mnist", folder: Path = DEBIAN_FOLDER, levels: int | None = None
) -> Source:
    """Images (N, 1, 28, 28) uint8, unpadded: 55,000 train, 5,000 validation, 10,000 test.

    The test split is the official one; validation is the last 5,000 (at most a half) of the
    training file. levels: as in `open_source`. Raises GlowkitError when a file is missing,
    truncated or does not fit the others.
    """
    images, labels = _read_pair(folder, "train")
    test_images, test_labels = _read_pair(folder, "t10k")
    if images.shape[1:] != test_images.shape[1:]:
        raise GlowkitError(
            f"{folder}: training images are {images.shape[1:]} and test images "
            f"{test_images.shape[1:]}, so these files do not belong together"
        )
    if len(images) < 2 or len(test_images) < 1 or not images[0].size:
        raise GlowkitError(f"{folder}: the IDX files hold too few images to train and test")
    highest = int(max(images.max(), test_images.max()))
    own, note = whole_levels(images.dtype, highest, None, levels)
    kept = len(images) - min(VALIDATION, len(images) // 2)
    rows = np.arange(len(images))
    return Source(
        name=name,
        splits={
            "train": ImageSplit(images, labels, rows[:kept]),
            "validation": ImageSplit(images, labels, rows[kept:]),
            "test": ImageSplit(test_images, test_labels),
        },
        image_shape=(1, images.shape[2], images.shape[3]),
        pixel_levels=own,
        class_names=CLASSES,
        notes=(note,) if note else (),
    )


def _read_pair(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 1, H, W) uint8 and labels (N,) int64 of "train" or "t10k"."""
    image_file = _find(folder, f"{part}-images", 3)
    label_file = _find(folder, f"{part}-labels", 1)
    images, labels = read_idx(image_file), read_idx(label_file)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise GlowkitError(
            f"{image_file} holds an array of shape {images.shape} and {label_file.name} one of "
            f"shape {labels.shape}: they must be (N, H, W) and (N,); fetch the files again"
        )
    if len(labels) and labels.max() >= len(CLASSES):
        raise GlowkitError(
            f"{label_file} has a label {labels.max()}, but the classes are 0 to "
            f"{len(CLASSES) - 1}: fetch the file again"
        )
    return images[:, None], labels.astype(np.int64)


def _find(folder: Path, stem: str, axes: int) -> Path:
    """The IDX file of that stem, gzipped or not."""
    for name in (f"{stem}-idx{axes}-ubyte", f"{stem}-idx{axes}-ubyte.gz"):
        if (folder / name).is_file():
            return folder / name
    raise GlowkitError(
        f"no {stem}-idx{axes}-ubyte[.gz] in {folder}: install the Debian package "
        "dataset-fashion-mnist, or give the folder of the four IDX files as fashion-mnist:FOLDER"
    )
