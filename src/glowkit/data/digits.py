"""The 8x8 handwritten digits bundled with scikit-learn: 1797 images, 17 levels, 10 classes."""

import numpy as np

from glowkit.data.partition import shuffled
from glowkit.data.source import Source, build_splits

PIXEL_LEVELS = 17  # counts of inked cells in a 4x4 block, 0 .. 16
VALIDATION, TEST = 200, 300  # of 1797; the remaining 1297 train


def open_digits() -> Source:
    """Images (N, 1, 8, 8) uint8 in 0..16: 1297 to train, 200 to validate, 300 to test.

    >>> source = open_digits()
    >>> {name: len(split) for name, split in source.splits.items()}
    {'train': 1297, 'validation': 200, 'test': 300}
    """
    from sklearn.datasets import load_digits  # late: half a second

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    order = shuffled(len(images))
    rows = {
        "train": order[VALIDATION + TEST :],
        "validation": order[:VALIDATION],
        "test": order[VALIDATION : VALIDATION + TEST],
    }
    return Source(
        name="digits",
        splits=build_splits(images, labels, rows),
        image_shape=(1, 8, 8),
        pixel_levels=PIXEL_LEVELS,
        class_names=tuple(str(digit) for digit in range(10)),
        notes=(),
    )
