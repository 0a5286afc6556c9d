"""The image files below a folder, in an order that does not depend on the file system."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from glowkit.core.errors import GlowkitError

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
