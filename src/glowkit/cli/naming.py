"""How a person names images: files, test:12 of the run's own data, or whole DATA."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from glowkit.cli.common import Opened, open_images
from glowkit.cli.speech import warn
from glowkit.core.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor

NAMES = typer.Argument(
    metavar="IMAGES",
    help="Image files, transparency on white, or images of the run's own data such as test:12 or"
    " test:0-7.",
)
LABEL = typer.Option("--class", help="Class of the image files, by name or number.")

_ROWS = re.compile(r"(train|validation|test):(\d+)(?:-(\d+))?")


def _row(name: str) -> re.Match[str] | None:
    """The split and rows in a name such as test:0-7, unless a file is called so."""
    return None if os.path.exists(_path(name)) else _ROWS.fullmatch(name)


def _path(name: str) -> Path:
    # Of os here and below, because those of Path raise for unknown users and names too long.
    return Path(os.path.expanduser(name))


def named_images(
    opened: Opened, names: Sequence[str], label: str | None = None
) -> "tuple[Tensor, Tensor | None]":
    """The images of these names, in order, and their context. `label` is the class of files."""
    import torch

    if label is not None and (not opened.model.config.classes or all(map(_row, names))):
        raise GlowkitError("--class is for an image file and a conditional model; leave it out")
    batches = [_named(opened, name, label) for name in names]
    contexts = [context for _, context in batches if context is not None]
    if len(contexts) < len(batches) and opened.model.config.classes:
        raise GlowkitError("this model is conditional; give the class of image files with --class")
    images = torch.cat([images for images, _ in batches])
    return images, torch.cat(contexts) if contexts else None


def name_each(names: Sequence[str]) -> list[str]:
    """A short name for each image of `named_images`.

    >>> name_each(["photos/cat.jpg", "test:3-5"])
    ['cat.jpg', 'test:3', 'test:4', 'test:5']
    """
    short = []
    for name in names:
        rows = _row(name)
        if rows:
            split, first, last = rows.groups()
            short += [f"{split}:{row}" for row in range(int(first), int(last or first) + 1)]
        else:
            short.append(Path(name).name)
    return short


def names_data(name: str) -> bool:
    """Whether a name is that of DATA, many images, rather than of an image file or test:12."""
    path = _path(name)
    if _row(name):
        return False
    return (
        os.path.isdir(path) or path.suffix.lower() in (".npy", ".npz") or not os.path.exists(path)
    )


def image_batches(
    opened: Opened, names: Sequence[str], split: str, batch_size: int, label: str | None = None
) -> "tuple[int, Iterator[tuple[Tensor, Tensor | None]]]":
    """How many images the names stand for, and the images in batches with their context.

    One name may be that of DATA, of which this is one split; without any, it is the data that the
    run was trained on.
    """
    from glowkit.cli.assess import split_batches

    if names and not (len(names) == 1 and names_data(names[0])):
        images, context = named_images(opened, names, label)
        batches = images.split(batch_size)
        contexts = [None] * len(batches) if context is None else context.split(batch_size)
        return len(images), zip(batches, contexts, strict=True)
    if label is not None:
        raise GlowkitError("--class is for an image file and a conditional model; leave it out")
    data = open_images(opened, names[0] if names else None)
    return len(data.splits.get(split, ())), split_batches(opened, data, split, batch_size)


def _named(opened: Opened, name: str, label: str | None) -> "tuple[Tensor, Tensor | None]":
    rows = _row(name)
    if rows:
        return _of_own_data(opened, name, *rows.groups())

    import torch

    from glowkit.data import read_picture

    config = opened.model.config
    picture = read_picture(_path(name), config.image_shape, config.pixel_levels)
    for note in picture.notes:
        warn(f"note: {note}")
    image = picture.image.to(opened.device)
    if label is None:
        return image, None
    return image, torch.tensor([opened.class_number(label)], device=opened.device)


def _of_own_data(
    opened: Opened, name: str, split: str, first: str, last: str | None
) -> "tuple[Tensor, Tensor | None]":
    from glowkit.cli.assess import prepared

    data = open_images(opened, None)
    images = data.splits[split]
    start, stop = int(first), int(last or first) + 1
    if not start < stop <= len(images):
        raise GlowkitError(
            f"there is no {name}: the {split} split of {data.name} has images 0 to"
            f" {len(images) - 1}"
        )
    return prepared(opened, data, images, range(start, stop))
