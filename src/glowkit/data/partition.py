"""Which rows train, which validate and which test: fixed for good by the number of rows."""

import numpy as np

from glowkit.core.errors import GlowkitError

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {  # what folders and data sets call them
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def shuffled(count: int) -> np.ndarray:
    """A fixed permutation of range(count), (count,) int64.

    The order matters beyond the division: rows of a folder come sorted by class, and the first
    batch of a split should be a fair sample of it.
    """
    # RandomState, because NumPy promises its stream never changes between versions; a split
    # that changed with an upgrade would put test images into training.
    return np.random.RandomState(0).permutation(count).astype(np.int64)


def tenth(count: int) -> int:
    """The size of a held-out part: a tenth of `count`, at least one."""
    return max(1, count // 10)


def divide(count: int, name: str) -> dict[str, np.ndarray]:
    """Rows 0 .. count-1 as train, validation and test, 80/10/10, at least one in each.

    name: for the sentence. Raises GlowkitError when there are fewer than 3 rows.

    >>> {split: len(rows) for split, rows in divide(105, "x").items()}
    {'train': 85, 'validation': 10, 'test': 10}
    """
    return complete({"train": np.arange(count)}, name)


def complete(given: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Three splits out of those given ("train" at least), rows in a fixed shuffled order.

    A split that is missing is taken from the training rows: a tenth of them, at least one.
    Raises GlowkitError when that would leave no training row.
    """
    train = given["train"]
    missing = [split for split in ("test", "validation") if split not in given]
    if len(train) < 1 + len(missing):
        need = " and ".join(["training", *missing])
        raise GlowkitError(
            f"{name} has only {len(train)} image(s) to share between {need}: "
            f"at least {1 + len(missing)} are needed"
        )
    train = train[shuffled(len(train))]
    held_out = tenth(len(train))
    found: dict[str, np.ndarray] = {}
    for split in missing:
        found[split], train = train[:held_out], train[held_out:]
    found["train"] = train
    for split in SPLITS:
        if split not in found:
            found[split] = given[split][shuffled(len(given[split]))]
    return {split: found[split] for split in SPLITS}
