"""The pass over image files: every one decoded once, verified and written to a pack."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from glowkit.core.errors import GlowkitError
from glowkit.data.cache import PackWriter
from glowkit.data.picture import (
    MARKS,
    BadImage,
    Decoded,
    Header,
    Request,
    read_header,
    read_pixels,
)
from glowkit.data.threads import ordered_map

Named = tuple[str, Path | bytes]
Result = TypeVar("Result")


class Pictures(Protocol):
    """Encoded images with names for sentences; can be gone through more than once."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Named]: ...


def pack_pictures(
    writer: PackWriter, pictures: Pictures, size: int | None, channels: int | None, skip_bad: bool
) -> None:
    """Decode `pictures` in order into `writer`.

    Facts left: "levels"; "bad", the [index, sentence] of each picture skipped; "marks", how
    often each of MARKS applied. Raises GlowkitError for an image that cannot be decoded (unless
    skip_bad), for several sizes (without size), for a mixture of 8 and 16 bits, and when no
    image is left.
    """
    bad: dict[int, str] = {}
    with _strict_about_bombs():
        request = _plan(pictures, size, channels, skip_bad, bad)
        marks: Counter[str] = Counter()
        first: tuple[str, tuple[int, ...]] | None = None
        headers_bad = frozenset(bad)
        good = (item for index, item in enumerate(pictures) if index not in headers_bad)
        order = (index for index in range(len(pictures)) if index not in headers_bad)
        count = len(pictures) - len(bad)

        def decode(item: Named) -> tuple[str, Decoded | BadImage]:
            return item[0], _attempt(lambda: read_pixels(item[1], request))

        with closing(ordered_map(decode, good, count, "Reading images")) as results:
            for index, (name, decoded) in zip(order, results, strict=True):
                if isinstance(decoded, BadImage):
                    _note_bad(bad, index, name, decoded, skip_bad)
                    continue
                if first is None:
                    first = (name, decoded.pixels.shape)
                elif decoded.pixels.shape != first[1]:
                    _, height, width = decoded.pixels.shape
                    raise _sizes_differ(first[0], (first[1][2], first[1][1]), name, (width, height))
                marks.update(decoded.marks)
                writer.append(decoded.pixels[None])
    if first is None:
        raise _all_bad(bad)
    writer.facts["levels"] = 65536 if request.deep else 256
    writer.facts["bad"] = sorted(bad.items())
    writer.facts["marks"] = dict(marks)


def refuse_bad(bad: list[tuple[int, str]], skip_bad: bool) -> None:
    """Raise GlowkitError for the first picture a pack had to skip, unless skip_bad."""
    if bad and not skip_bad:
        raise GlowkitError(bad[0][1])


def packing_notes(facts: dict) -> list[str]:
    """Sentences about what packing did to the pictures."""
    notes = [f"{count} image(s) {MARKS[mark]}" for mark, count in sorted(facts["marks"].items())]
    bad = facts["bad"]
    if bad:
        notes.insert(0, f"{len(bad)} image(s) skipped, the first because {bad[0][1]}")
    return notes


def _plan(
    pictures: Pictures,
    size: int | None,
    channels: int | None,
    skip_bad: bool,
    bad: dict[int, str],
) -> Request:
    """What every picture is to become, from their headers alone, so that errors come early."""

    def look(item: Named) -> tuple[str, Header | BadImage]:
        return item[0], _attempt(lambda: read_header(item[1]))

    first: tuple[str, Header] | None = None
    sized: tuple[str, tuple[int, int]] | None = None
    gray = True
    with closing(ordered_map(look, pictures, len(pictures), "Looking at images")) as results:
        for index, (name, header) in enumerate(results):
            if isinstance(header, BadImage):
                _note_bad(bad, index, name, header, skip_bad)
                continue
            gray = gray and header.gray
            if first is None:
                first = (name, header)
            elif header.deep != first[1].deep:
                deep, plain = (name, first[0]) if header.deep else (first[0], name)
                raise GlowkitError(
                    f"{deep} is a 16-bit grayscale image and {plain} is not: "
                    "convert the images to one kind, or keep the kinds in separate folders"
                )
            if header.size is not None and size is None:
                sized = sized or (name, header.size)
                if header.size != sized[1]:
                    raise _sizes_differ(*sized, name, header.size)
    if first is None:
        raise _all_bad(bad)
    if first[1].deep and channels not in (None, 1):
        raise GlowkitError(
            f"{first[0]} is a 16-bit grayscale image, which is read with 1 channel only: "
            f"leave out --channels {channels}"
        )
    return Request(channels or (1 if gray else 3), first[1].deep, size)


def _attempt(read: Callable[[], Result]) -> Result | BadImage:
    try:
        return read()
    except BadImage as error:
        return error


def _note_bad(bad: dict[int, str], index: int, name: str, error: BadImage, skip_bad: bool) -> None:
    bad[index] = f"{name} cannot be read ({error}): repair or remove it, or pass --skip-bad"
    refuse_bad([(index, bad[index])], skip_bad)


def _all_bad(bad: dict[int, str]) -> GlowkitError:
    return GlowkitError(f"none of the {len(bad)} images can be read; the first: {bad[min(bad)]}")


def _sizes_differ(
    one: str, one_size: tuple[int, int], other: str, other_size: tuple[int, int]
) -> GlowkitError:
    return GlowkitError(
        f"images differ in size: {one} is {one_size[0]}x{one_size[1]} and {other} is "
        f"{other_size[0]}x{other_size[1]}; pass --size to bring all to one size"
    )


@contextmanager
def _strict_about_bombs() -> Iterator[None]:
    """Refuse images of suspicious size, and keep Pillow's other remarks off the screen.

    Filters are changed here, around all threads, because they belong to the whole process.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
