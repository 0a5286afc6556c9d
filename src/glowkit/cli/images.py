"""Images that a command names, and files that it writes."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from glowkit.cli.common import say_broken
from glowkit.cli.opened import MOST_NAMED, Opened, open_image_model, open_images
from glowkit.cli.speech import warn
from glowkit.system.errors import GlowkitError

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

    if label is not None and (not opened.model.classes or all(map(_row, names))):
        raise GlowkitError("--class is for an image file and a conditional model; leave it out")
    batches = [_named(opened, name, label) for name in names]
    contexts = [context for _, context in batches if context is not None]
    if len(contexts) < len(batches) and opened.model.classes:
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


def few_files(opened: Opened, name: str) -> list[Path]:
    """An image file, or those of a folder of fewer than can be split; none of other names."""
    from glowkit.data.folder import SUFFIXES, list_images
    from glowkit.data.source import SPLITS

    path = _path(name)
    if opened.objective.things != "images" or len(opened.model.shape or ()) != 3:
        return []
    if os.path.isfile(path):
        return [path] if path.suffix.lower() in SUFFIXES else []
    paths = list_images(path).paths if os.path.isdir(path) else []
    return [path / each for each in paths] if len(paths) < len(SPLITS) else []


def image_batches(
    opened: Opened, names: Sequence[str], split: str, batch_size: int, label: str | None = None
) -> "tuple[int, Iterator[tuple[Tensor, Tensor | None]]]":
    """How many images the names stand for, and the images in batches with their context.

    One name may be that of DATA, of which this is one split; without any, it is the data that the
    run was trained on.
    """
    from glowkit.cli.opened import split_batches

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

    picture = read_picture(_path(name), opened.image_shape, opened.pixel_levels)
    for note in picture.notes:
        warn(f"note: {note}")
    image = picture.image.to(opened.device)
    if label is None:
        return image, None
    return image, torch.tensor([opened.class_number(label)], device=opened.device)


def _of_own_data(
    opened: Opened, name: str, split: str, first: str, last: str | None
) -> "tuple[Tensor, Tensor | None]":
    from glowkit.cli.opened import prepared

    data = open_images(opened, None)
    images = data.splits[split]
    start, stop = int(first), int(last or first) + 1
    if not start < stop <= len(images):
        raise GlowkitError(
            f"there is no {name}: the {split} split of {data.name} has images 0 to"
            f" {len(images) - 1}"
        )
    return prepared(opened, data, images, range(start, stop))


KINDS = (
    "A .png for a sheet, .npy or .npz for an array (N, C, H, W), else a folder of PNG files. Images"
    " that could not be computed are hatched; in an array such values are 0, and the array broken"
    " of a .npz tells of the images, a note and --json of their numbers."
)
OFF_A_SHEET = "name a folder, .npy or .npz with --out"
OTHERS = (".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")
MOST_TILES = 1000  # on a sheet


def is_sheet(out: Path) -> bool:
    """Whether images go onto one sheet."""
    return out.suffix.lower() == ".png"


def check_sheet(tiles: int, instead: str = "ask for fewer") -> None:
    """Refuse a sheet of so many images that nobody could look at it; `instead` says what to do."""
    if tiles > MOST_TILES:
        raise GlowkitError(
            f"{tiles} images do not fit on a sheet, which takes {MOST_TILES}; {instead}"
        )


def check_png(out: Path | None) -> None:
    """Refuse another name for what is a PNG file."""
    if out is not None and not is_sheet(out):
        raise GlowkitError(f"this command draws a PNG, not {out.name}; give --out a name in .png")


def check_out(out: Path) -> None:
    """Refuse other kinds of files, and a folder whose files would mix with the new ones."""
    if out.suffix.lower() in OTHERS:
        raise GlowkitError(f"images are not written as {out.suffix}; give a .png, .npy or .npz")
    if out.is_dir() and any(out.iterdir()):
        raise GlowkitError(f"{out} exists already; give a new folder with --out")


def write_images(
    batches: "Iterable[tuple[Tensor, Tensor]]",
    out: Path,
    count: int,
    shape: tuple[int, ...],
    levels: int,
    remedy: str = "",
    others: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `count` images (C, H, W) that come in batches; memory is that of a batch.

    batches: images, and which of them could not be computed, (N,). An array has the integers
    themselves, a .npz file beside them the mask `broken`, `levels`, and what `others` holds. PNG
    files have 8 bits a channel: what a person sees. Says how many are broken, and returns it and
    their numbers for --json.
    """
    number, digits = 0, len(str(count - 1))
    broken: list[bool] = []
    if out.suffix.lower() in (".npy", ".npz"):
        from glowkit.tasks.latent import writing_rows

        dtype = "uint8" if levels <= 256 else "int32"
        beside = {"broken": broken, "levels": levels, **(others or {})}
        with writing_rows(out, "images", (count, *shape), dtype, beside) as append:
            for batch, lost in batches:
                append(batch.cpu().numpy())
                broken += lost.tolist()
        shown = "their values that are not finite are 0 in the array"
    else:
        from glowkit.pictures.sheet import picture, save_png

        for batch, lost in batches:
            for image, mark in zip(batch, lost.tolist(), strict=True):
                save_png(picture(image, levels, mark), out / f"{number:0{digits}d}.png")
                number += 1
            broken += lost.tolist()
        shown = "they are hatched"
    import torch

    indices = [index for index, lost in enumerate(broken) if lost]
    named = ", ".join(map(str, indices[:MOST_NAMED])) + ", ..." * (len(indices) > MOST_NAMED)
    said = say_broken([torch.tensor(broken)], remedy, f"{shown}: {named}")
    return {**said, "broken_indices": indices}


def open_for(run: Path, file: Path, out: Path) -> Opened:
    """The model that a file of images is to be decompressed with, once both files are checked."""
    check_out(out)
    if not file.is_file():
        raise GlowkitError(f"no such file: {file}")
    return open_image_model(run, "cpu")


def write_whole(out: Path, images: "Tensor", context: "Tensor | None", levels: int) -> None:
    """Write images (N, C, H, W), all of which are known, and in an array their context."""
    import torch

    count = len(images)
    batch = iter([(images, torch.zeros(count, dtype=torch.bool))])
    if is_sheet(out):
        check_sheet(count, OFF_A_SHEET)
        write_sheet(batch, out, levels)
        return
    others: dict[str, Any] = {}
    if context is not None:
        others["context" if context.dim() > 1 else "labels"] = context.numpy()
    write_images(batch, out, count, tuple(images.shape[1:]), levels, others=others)


def write_sheet(
    batches: "Iterable[tuple[Tensor, Tensor]]",
    out: Path,
    levels: int,
    remedy: str = "",
    columns: int = 10,
) -> dict[str, int]:
    """Write images that come in batches, as for `write_images`, as one sheet without labels."""
    import torch

    from glowkit.pictures.sheet import image_sheet, save_png

    images, broken = (torch.cat(parts).cpu() for parts in zip(*batches, strict=True))
    rows = [("", row) for row in images.split(columns)]
    save_png(image_sheet(rows, levels, broken=broken.split(columns)), out)
    return say_broken([broken], remedy)
