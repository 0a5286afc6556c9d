"""Which attributes the images of a source have: from a file, from the source, or its classes."""

import csv
import os
from pathlib import Path, PurePosixPath

import numpy as np

from glowkit.data.source import LACKS, UNKNOWN, AttributeTable, Source, class_attributes
from glowkit.system.errors import GlowkitError


def attributes_of(source: Source, split: str, labels: Path | None = None) -> AttributeTable:
    """The attributes of the images of one split, in its order.

    labels: a file as `read_labels` takes it, for a folder of images; images that it does not name
    are unknown. Without one, what the source itself knows, else each class as an attribute.
    Raises GlowkitError when there are none, and for everything that `read_labels` refuses.
    """
    images = source.splits[split]
    if labels is not None:
        if not source.files:
            raise GlowkitError(
                f"{labels} names image files, and {source.name} is not a folder of them: "
                "leave out --labels"
            )
        return _matched(source, labels).rows(images.indices)
    if source.attributes is not None:
        return source.attributes.rows(images.indices)
    if images.labels is None or not source.class_names:
        raise GlowkitError(
            f"{source.name} says no attributes of its images: sort them into sub-folders, or give "
            "a table with --labels"
        )
    return class_attributes(images.labels[images.indices], source.class_names)


def check_is_file(path: Path) -> None:
    """Refuse labels that are no file; a pipe would be waited for."""
    if not os.path.isfile(path):
        raise GlowkitError(f"the labels {path} cannot be read as text: there is no such file")


def read_labels(path: Path) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """The names of A attributes, and by the name of each image their values, (A,) int8.

    Either comma-separated with a header, the first column naming the image, or as CelebA's
    list_attr_celeba.txt has it: a count, a line of names, and fields between spaces. Values are
    1 and −1, with 0 or nothing for unknown; in a table without any −1, 0 means −1.
    Raises GlowkitError, with the line, for what is none of these.
    """
    check_is_file(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise GlowkitError(f"the labels {path} cannot be read as text: {error}") from None
    lines = text.splitlines()
    if lines and lines[0].strip().isdecimal():
        names, first = (lines[1].split() if len(lines) > 1 else []), 3
        rows = [line.split() for line in lines[2:]]
    else:
        try:
            (header, *rows), first = list(csv.reader(lines)) or [[]], 2
        except csv.Error as error:
            raise GlowkitError(f"the labels {path} are no comma-separated table: {error}") from None
        names = [name.strip() for name in header[1:]]
    if not names or len(set(names)) < len(names):
        raise GlowkitError(
            f"{path} has no header of different attribute names after the image's column, such as "
            "image_id,smiling,young"
        )
    table = {
        row[0].strip(): _values(row, len(names), f"{path}, line {number}")
        for number, row in enumerate(rows, first)
        if row
    }
    if not any((values == LACKS).any() for values in table.values()):
        table = {name: np.where(values == UNKNOWN, LACKS, values) for name, values in table.items()}
    return tuple(names), table


def _values(row: list[str], count: int, where: str) -> np.ndarray:
    words = [word.strip() or "0" for word in row[1:]]
    if len(words) != count or not set(words) <= {"1", "+1", "-1", "0", "1.0", "-1.0", "0.0"}:
        raise GlowkitError(
            f"{where}: expected an image name and {count} values that are 1, 0 or -1"
        )
    return np.array([int(float(word)) for word in words], dtype=np.int8)


def _matched(source: Source, labels: Path) -> AttributeTable:
    names, table = read_labels(labels)
    values = np.full((len(source.files), len(names)), UNKNOWN, dtype=np.int8)
    found = 0
    for row, file in enumerate(source.files):
        known = table.get(file, table.get(PurePosixPath(file).name))
        if known is not None:
            values[row] = known
            found += 1
    if not found:
        raise GlowkitError(
            f"{labels} names none of the images of {source.name}: its first column must hold file "
            f"names such as {PurePosixPath(source.files[0]).name}"
        )
    return AttributeTable(names, values)
