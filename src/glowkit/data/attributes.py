"""What is known of each image beyond its pixels: a table of named properties it has or lacks."""

from dataclasses import dataclass

import numpy as np

HAS, LACKS, UNKNOWN = 1, -1, 0


@dataclass(frozen=True)
class AttributeTable:
    """Attributes of N images: +1 where an image has one, -1 where it lacks it, 0 unknown.

    names: A names. values: (N, A) int8.

    >>> table = AttributeTable(("smiling",), np.array([[1], [-1], [0]], np.int8))
    >>> table.rows(np.array([2, 0])).values.ravel().tolist()
    [0, 1]
    """

    names: tuple[str, ...]
    values: np.ndarray

    def rows(self, index: np.ndarray) -> "AttributeTable":
        """The table of the images at these rows, in this order."""
        return AttributeTable(self.names, self.values[index])


def class_attributes(labels: np.ndarray, class_names: tuple[str, ...]) -> AttributeTable:
    """Each class as an attribute that its images have and all others lack; labels (N,), -1 unknown.

    >>> class_attributes(np.array([1, 0, -1]), ("cat", "dog")).values.tolist()
    [[-1, 1], [1, -1], [0, 0]]
    """
    member = labels[:, None] == np.arange(len(class_names))
    values = np.where(member, HAS, LACKS) * (labels >= 0)[:, None]
    return AttributeTable(class_names, values.astype(np.int8))
