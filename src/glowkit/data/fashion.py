"""Fashion-MNIST (or any set in its four IDX files): 28x28 grayscale, 10 classes."""

from pathlib import Path

import numpy as np

from glowkit.core.errors import GlowkitError
from glowkit.data.idx import read_idx
from glowkit.data.levels import whole_levels
from glowkit.data.source import Source
from glowkit.data.split import ImageSplit

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
