"""From what a person types to a source of images, points or rows of a table."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glowkit.data.folder import SUFFIXES, open_folder
from glowkit.data.levels import at_levels
from glowkit.data.packing import Wanted
from glowkit.data.source import Source, build_splits, require_shape, shuffled
from glowkit.data.standard import FOLDER, STANDARD, open_standard
from glowkit.data.table import AnySource, Choice, is_table, open_table
from glowkit.data.toy import POINTS, open_points
from glowkit.system.errors import GlowkitError

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


KINDS = (
    "digits, points:NAME, fashion-mnist[:FOLDER], emoji[:FONT], a folder of images, an .npz or .npy"
    " file, hf:NAME, a table in .csv, .parquet or .npy, or table:NAME[:FOLDER]"
)


class SourceRow(NamedTuple):
    """One line of the list of sources, as text."""

    spec: str
    description: str
    shape: str
    levels: str


def list_sources() -> list[SourceRow]:
    """What DATA can be, one row a kind: (spec, description, shape C x H x W, levels).

    >>> list_sources()[0].spec
    'digits'
    """
    return [
        SourceRow("digits", "8x8 handwritten digits bundled with scikit-learn", "1x8x8", "17"),
        SourceRow(
            "points:NAME",
            f"points of a 2-D density whose entropy is known: {', '.join(POINTS)}",
            "2 coordinates",
            "",
        ),
        SourceRow(
            "fashion-mnist[:FOLDER]",
            "Fashion-MNIST as IDX files; Debian package dataset-fashion-mnist, or a folder",
            "1x28x28",
            "256",
        ),
        SourceRow(
            "emoji[:FONT]",
            "the emoji of a colour font, with attributes; Debian package fonts-noto-color-emoji, or"
            " a font file (extra: glowkit[emoji])",
            "3x32x32, or --size",
            "256",
        ),
        SourceRow(
            "FOLDER",
            "image files at any depth; sub-folders name classes, or train, validation and test",
            "as found, or --size",
            "256 or 65536",
        ),
        SourceRow(
            "FILE.npy, FILE.npz[:NAME]",
            "an array of images (N,H,W), (N,H,W,C) or (N,C,H,W); labels in .npz under `labels`",
            "as found",
            "256 or 65536",
        ),
        SourceRow(
            "hf:NAME",
            "a data set of the Hugging Face hub, or a local folder (extra: glowkit[hf])",
            "as found, or --size",
            "256 or 65536",
        ),
        SourceRow(
            "FILE.csv, FILE.parquet, FILE.npy",
            "a table: columns of numbers under their names, or an array (rows, columns)",
            "as found",
            "",
        ),
        SourceRow(
            "table:NAME[:FOLDER]",
            f"{', '.join(STANDARD)} from the files of Papamakarios et al. 2017, in data/ or FOLDER",
            "as there",
            "",
        ),
    ]


def open_source(
    spec: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    skip_bad: bool = False,
    levels: int | None = None,
    target: str | None = None,
    context: str | None = None,
    only: tuple[tuple[str, ...], tuple[str, ...]] | None = None,
) -> AnySource:
    """Open DATA: images, points or rows of a table in three splits, every one of them checked.

    spec: "digits", "points:NAME", "fashion-mnist[:FOLDER]", "emoji[:FONT]", a folder of images, an
    .npy or .npz file, "hf:NAME", a table (.csv, .tsv, .parquet or a 2-D .npy), or
    "table:NAME[:FOLDER]". target, context, only: which columns of a table are x and which are
    given, see `glowkit.data.table.Choice`. size: side in pixels at which emoji are drawn, and to
    which image files are resized and centre-cropped.
    channels: 1, 3 or 4 in place of what the files suggest. skip_bad: leave out image files that
    cannot be decoded, and count them in the notes. levels: the pixel levels of the model that the
    images are for, to which `glowkit.data.levels` brings them; by default they keep their own.

    Image files are decoded once, into the folder $GLOWKIT_CACHE (~/.cache/glowkit), with a
    progress bar on stderr when that takes long; later opens map the result from disk.
    Raises GlowkitError for anything wrong with the request or the data.

    >>> [len(open_source(spec).splits["train"]) for spec in ("digits", "points:moons")]
    [1297, 65536]
    """
    if size is not None and size < 1:
        raise GlowkitError(f"size {size} is not a side in pixels: give a whole number above 0")
    if channels not in (None, 1, 3, 4):
        raise GlowkitError(f"{channels} channels is not a kind of image: choose 1, 3 or 4")
    kind, _, rest = spec.partition(":")
    made = kind in ("digits", "points", "fashion-mnist", "emoji")
    if skip_bad and (made or _array_file(Path(spec).expanduser())):
        raise GlowkitError(f"{spec} has no image files that one could skip: leave out --skip-bad")
    if is_table(spec):
        if size is not None or channels is not None or skip_bad:
            raise GlowkitError(f"{spec} is a table: leave out --size, --channels and --skip-bad")
        choice = Choice(target, context, only)
        if kind == "table":
            name, _, place = rest.partition(":")
            return open_standard(spec, name, _path(place or FOLDER), choice)
        return open_table(spec, _path(spec), choice)
    if target is not None or context is not None:
        raise GlowkitError(f"{spec} has no columns: leave out --target and --context")
    # Readers are imported here because most drag in a library that the others do not need.
    if spec == "digits":
        return _checked(open_digits(), size, channels, levels)
    if kind == "points":
        if size is not None or channels is not None:
            raise GlowkitError(f"{spec} are no images: leave out --size and --channels")
        return open_points(spec, rest)
    if kind == "fashion-mnist":
        from glowkit.data.fashion import DEBIAN_FOLDER, open_fashion

        folder = _path(rest) if rest else DEBIAN_FOLDER
        return _checked(open_fashion(spec, folder, levels), size, channels, levels)
    if kind == "emoji":
        from glowkit.data.emoji import DEBIAN_FONT, open_emoji

        font = _path(rest) if rest else DEBIAN_FONT
        return _checked(open_emoji(spec, font, size), size, channels, levels)
    if kind == "hf" and rest:
        from glowkit.data.hub import open_hub

        return at_levels(open_hub(spec, Wanted(size, channels, skip_bad, levels)), levels)
    path = _path(spec)
    if spec and os.path.isdir(path):  # of os, because those of Path raise for names too long
        wanted = Wanted(size, channels, skip_bad, levels)
        return at_levels(open_folder(spec, path, wanted), levels)
    array = _array_file(path)
    if array is not None:
        from glowkit.data.arrays import open_arrays

        return _checked(open_arrays(spec, *array, channels, levels), size, channels, levels)
    if os.path.isfile(path) and path.suffix.lower() in SUFFIXES:
        raise GlowkitError(
            f"{spec} is one file of an image, and DATA is many: name the folder that it lies in"
        )
    if os.path.isfile(path):
        raise GlowkitError(f"{spec} is one file of an unknown kind; DATA is {KINDS}")
    if spec and os.path.exists(path):  # a pipe, say, which would be waited for
        raise GlowkitError(f"{spec} is neither a file nor a folder; DATA is {KINDS}")
    raise GlowkitError(f"no such file or folder: {spec}; DATA is {KINDS}")


def _checked(source: Source, size: int | None, channels: int | None, levels: int | None) -> Source:
    require_shape(source.name, source.image_shape, size, channels)
    return at_levels(source, levels)


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))  # of os, because Path's raises for unknown users


def _array_file(path: Path) -> tuple[Path, str | None] | None:
    """The file and NAME of FILE.npy, FILE.npz or FILE.npz:NAME, None when there is no such file.

    A file whose own name contains a colon is taken as it is.
    """
    if os.path.isfile(path):
        return (path, None) if path.suffix.lower() in (".npy", ".npz") else None
    text, _, member = str(path).rpartition(":")
    is_archive = Path(text).suffix.lower() == ".npz" and os.path.isfile(text)
    return (Path(text), member) if member and is_archive else None
