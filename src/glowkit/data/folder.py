"""A folder of image files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from glowkit.data.packing import Named, Wanted, facts_bad, packed_pictures, packing_notes
from glowkit.data.source import SPLIT_NAMES, Source, build_splits, complete, rows_of
from glowkit.system.errors import GlowkitError

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)


@dataclass(frozen=True)
class Listing:
    """paths: image files relative to the folder, sorted. state: [path, bytes, mtime ns] of each.

    ignored: other files, sorted.
    """

    paths: list[PurePosixPath]
    state: list[tuple[str, int, int]]
    ignored: list[str]


def list_images(root: Path) -> Listing:
    """Find image files at any depth by their suffix, following links, passing over hidden names.

    Raises GlowkitError for a folder that may not be read.
    """
    found: list[tuple[str, int, int]] = []
    ignored: list[str] = []
    visited: set[str] = set()
    for folder, subfolders, names in os.walk(root, onerror=_refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:  # a link to a folder already seen, perhaps to its own parent
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in names:
            if name.startswith("."):
                continue
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if path.suffix.lower() in SUFFIXES:
                found.append((relative, *_size_and_time(path)))
            else:
                ignored.append(relative)
    found.sort()
    return Listing([PurePosixPath(entry[0]) for entry in found], found, sorted(ignored))


def _refuse(error: OSError) -> None:
    raise GlowkitError(
        f"the folder {error.filename} cannot be read ({error.strerror}): change its permissions, "
        "or move it elsewhere"
    ) from None


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # a dangling link: opening it will fail, and that is reported by name
        return 0, 0
    return status.st_size, status.st_mtime_ns


class _Files:
    """The files of a folder as pictures named by their whole paths."""

    def __init__(self, root: Path, paths: list[PurePosixPath]) -> None:
        self.files = [root / path for path in paths]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Named]:
        return ((str(file), file) for file in self.files)


def open_folder(name: str, root: Path, wanted: Wanted) -> Source:
    """Image files at any depth below `root`, packed into the cache and mapped from there.

    Splits are the top-level sub-folders train, val (valid, validation) and test where there are
    such, else 80/10/10 by a fixed permutation of the sorted paths; a split that is missing is
    taken from train. Classes are the names of the folders right above the images, sorted.
    Raises GlowkitError when there are too few images, for an ambiguous arrangement of folders,
    and for everything that `packed_pictures` refuses.
    """
    listing = list_images(root)
    if not listing.paths:
        raise GlowkitError(f"no image in {root}: looked at any depth for {', '.join(SUFFIXES)}")
    given = _given_splits(root, listing.paths)
    complete(_rows(listing.paths, given), str(root))  # refuse too few images before a long pass
    files = _Files(root, listing.paths)
    pack = packed_pictures(str(root.resolve()), listing.state, files, wanted)
    bad = {one.place for one in facts_bad(pack.facts)}
    paths = [path for index, path in enumerate(listing.paths) if index not in bad]
    given_rows = _rows(paths, given)
    rows = complete(given_rows, f"{root}, after skipping {len(bad)}," if bad else str(root))
    labels, classes, notes = _labels(paths, given_rows, given)
    if listing.ignored:
        notes.append(
            f"{len(listing.ignored)} file(s) ignored for not being named as images, "
            f"the first {listing.ignored[0]}"
        )
    _, c, h, w = pack.images.shape
    return Source(
        name=name,
        splits=build_splits(pack.images, labels, rows),
        image_shape=(c, h, w),
        pixel_levels=int(pack.facts["levels"]),
        class_names=classes,
        notes=(*packing_notes(pack.facts), *notes),
        files=tuple(map(str, paths)),
    )


def _given_splits(root: Path, paths: list[PurePosixPath]) -> dict[str, str]:
    """Top-level folder to split, empty when the folders are not splits.

    Raises GlowkitError when they look like splits only in part.
    """
    tops = sorted({path.parts[0] if len(path.parts) > 1 else "" for path in paths})
    splits = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    others = [top or "images beside them" for top in tops if top not in splits]
    named = ", ".join(splits)
    if len(set(splits.values())) < len(splits):
        raise GlowkitError(f"{root} has {named}, of which two name the same split: merge them")
    if "train" in splits.values() and not others:
        return splits
    if len(splits) > 1 or (splits and not others):
        what = f"but also {', '.join(others)}" if others else "but no train"
        raise GlowkitError(
            f"{root} has folders named as splits ({named}) {what}: arrange it as train, validation "
            "and test, or open one of its folders by itself"
        )
    return {}  # one class may well be called "train", among others called "car" and "ship"


def _rows(paths: list[PurePosixPath], given: dict[str, str]) -> dict[str, np.ndarray]:
    """The rows of each split that the folders give; all of them in "train" when they give none."""
    if not given:
        return {"train": np.arange(len(paths))}
    return rows_of(np.array([given[path.parts[0]] for path in paths]))


def _labels(
    paths: list[PurePosixPath], rows: dict[str, np.ndarray], given: dict[str, str]
) -> tuple[np.ndarray | None, tuple[str, ...], list[str]]:
    """Class numbers (N,) int64 (-1 in a split without labels), class names, notes.

    A split has labels when all its images lie in sub-folders of it.
    """
    depth = 2 if given else 1  # number of path parts above which an image lies in a class folder
    notes: list[str] = []
    labelled: dict[str, list[str]] = {}
    for split, index in rows.items():
        inside = [len(paths[row].parts) > depth for row in index]
        if all(inside):
            labelled[split] = [paths[row].parent.name for row in index]
        elif any(inside):
            notes.append(
                f"{inside.count(False)} image(s) lie in no class folder, so "
                + (f"the {split} split has no labels" if given else "there are no labels")
            )
    if "train" not in labelled:
        return None, (), notes
    classes = sorted({name for names in labelled.values() for name in names})
    number = {name: k for k, name in enumerate(classes)}
    labels = np.full(len(paths), -1, dtype=np.int64)
    for split, names in labelled.items():
        labels[rows[split]] = [number[name] for name in names]
    return labels, tuple(classes), notes
