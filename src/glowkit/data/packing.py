"""Packing: image files become one array in the cache, several at a time."""

import contextlib
import os
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from glowkit.data.cache import Pack, PackWriter, packed
from glowkit.data.levels import FEW
from glowkit.data.picture import (
    MARKS,
    BadImage,
    Decoded,
    Header,
    Request,
    read_header,
    read_pixels,
    strict_about_bombs,
)
from glowkit.system.errors import GlowkitError

MOST_KINDS, MOST_NAMES = 6, 3


class Broken(NamedTuple):
    """A picture that cannot be decoded: its place among all, what it is called, and why."""

    place: int
    name: str
    reason: str


def unreadable(broken: Sequence[Broken]) -> str:
    """The beginning of a sentence about all of them, at least one.

    >>> unreadable([Broken(0, "a.png", "truncated"), Broken(4, "b.png", "truncated")])
    '2 images cannot be read: truncated (2: a.png, b.png)'
    """
    if len(broken) == 1:
        return f"{broken[0].name} cannot be read ({broken[0].reason})"
    kinds: dict[str, list[Broken]] = {}
    for one in broken:  # the numbers in a reason are those of one file
        kinds.setdefault(re.sub(r"\d+", "0", one.reason), []).append(one)
    told = [_kind(same) for same in list(kinds.values())[:MOST_KINDS]]
    if len(kinds) > MOST_KINDS:
        told.append(f"and {len(kinds) - MOST_KINDS} kinds of damage more")
    return f"{len(broken)} images cannot be read: {'; '.join(told)}"


def _kind(same: Sequence[Broken]) -> str:
    names = ", ".join(one.name for one in same[:MOST_NAMES])
    more = ", ..." if len(same) > MOST_NAMES else ""
    return f"{same[0].reason} ({len(same)}: {names}{more})"


Item = TypeVar("Item")
Answer = TypeVar("Answer")

AHEAD = 64  # items under way: enough for every thread, few enough for memory
PATIENCE = 1.0  # seconds of work before a progress bar is worth showing


def ordered_map(
    work: Callable[[Item], Answer], items: Iterable[Item], count: int, title: str
) -> Generator[Answer, None, None]:
    """work(item) for each of the `count` items, in order, by several threads.

    After a second a progress bar called `title` appears on stderr, if that is a terminal.
    Whatever `work` raises comes out at the place of its item.
    """
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    under_way: deque[Future[Answer]] = deque()
    try:
        with _progress(count, title) as step:
            for item in items:
                under_way.append(pool.submit(work, item))
                if len(under_way) >= AHEAD:
                    yield under_way.popleft().result()
                    step()
            while under_way:
                yield under_way.popleft().result()
                step()
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _progress(count: int, title: str) -> Iterator[Callable[[], None]]:
    """A function to call after every item."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task(title, total=count)
    begun = time.monotonic()
    shown = False

    def step() -> None:
        nonlocal shown
        bar.advance(task)
        if not shown and time.monotonic() - begun > PATIENCE:
            bar.start()
            shown = True

    try:
        yield step
    finally:
        bar.stop()


Named = tuple[str, Path | bytes]
Size = tuple[int, int]
Result = TypeVar("Result")


class Pictures(Protocol):
    """Encoded images with names for sentences; can be gone through more than once."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Named]: ...


class Wanted(NamedTuple):
    """What `open_source` was asked for beside the name of the data."""

    size: int | None
    channels: int | None
    skip_bad: bool
    levels: int | None


class _Depths(GlowkitError):
    """Some images have 16 bits, where none or all should, or in colours that they do not have."""


def packed_pictures(place: str, state: object, pictures: Pictures, wanted: Wanted) -> Pack:
    """The pictures of a place in a state, decoded once: packed as `packed` has it.

    Where a model of up to 256 levels wants them, images of 16 bits are taken at 8 bits where
    they stand among others or are wanted in colour. Facts: "levels"; "bad", a `Broken` for each
    picture skipped; "marks", how often each of MARKS applied. Raises GlowkitError, in one sentence
    about all of them, for images that cannot be decoded (unless skip_bad), for several sizes
    (without size), for a mixture of 8 and 16 bits, and when no image is left.
    """

    def fill(eight: bool) -> Callable[[PackWriter], None]:
        return lambda writer: _fill(writer, pictures, wanted, eight)

    options = [wanted.size, wanted.channels]
    try:
        pack = packed(place, options, state, fill(False))
    except _Depths:
        if wanted.levels is None or wanted.levels > 256:
            raise
        pack = packed(place, [*options, 8], state, fill(True))
    refuse_bad(facts_bad(pack.facts), wanted.skip_bad)
    return pack


def _fill(writer: PackWriter, pictures: Pictures, wanted: Wanted, eight: bool) -> None:
    """Decode `pictures` in order into `writer`, all of them at 8 bits if `eight`."""
    bad: list[Broken] = []
    skip_bad = wanted.skip_bad
    with strict_about_bombs():
        request = _plan(pictures, wanted, eight, bad)
        marks: Counter[str] = Counter()
        highest = 0
        first: tuple[str, tuple[int, ...]] | None = None
        headers_bad = frozenset(one.place for one in bad)
        good = (item for index, item in enumerate(pictures) if index not in headers_bad)
        order = (index for index in range(len(pictures)) if index not in headers_bad)
        count = len(pictures) - len(bad)

        def decode(item: Named) -> tuple[str, Decoded | BadImage]:
            return item[0], _attempt(lambda: read_pixels(item[1], request))

        with closing(ordered_map(decode, good, count, "Reading images")) as results:
            for index, (name, decoded) in zip(order, results, strict=True):
                if isinstance(decoded, BadImage):
                    bad.append(Broken(index, name, str(decoded)))
                    continue
                if first is None:
                    first = (name, decoded.pixels.shape)
                elif decoded.pixels.shape != first[1]:
                    _, height, width = decoded.pixels.shape
                    one = (first[0], (first[1][2], first[1][1]))
                    raise _problem(bad, skip_bad, _sizes_differ(one, (name, (width, height))))
                marks.update(decoded.marks)
                highest = max(highest, int(decoded.pixels.max()))
                if not bad or skip_bad:  # else all that is left to do is to find the others
                    writer.append(decoded.pixels[None])
    bad.sort()
    if first is None:
        raise _all_bad(bad)
    refuse_bad(bad, skip_bad)
    writer.facts["levels"] = 65536 if request.deep else 256
    writer.facts["highest"] = highest
    writer.facts["bad"] = bad
    writer.facts["marks"] = dict(marks)


def refuse_bad(bad: Sequence[Broken], skip_bad: bool) -> None:
    """Raise GlowkitError for the pictures a pack had to skip, if any, unless skip_bad."""
    if bad and not skip_bad:
        raise _problem(bad, skip_bad)


def packing_notes(facts: dict) -> list[str]:
    """Sentences about what packing did to the pictures."""
    notes = [f"{count} image(s) {MARKS[mark]}" for mark, count in sorted(facts["marks"].items())]
    highest, most = facts["highest"], facts["levels"] - 1
    if highest < (FEW if most == 255 else 256):
        notes.append(f"no value is above {highest} of {most}, so that all images are nearly black")
    bad = facts_bad(facts)
    if bad:
        notes.insert(0, f"{len(bad)} image(s) skipped: {unreadable(bad)}")
    return notes


def facts_bad(facts: dict) -> list[Broken]:
    """The pictures that a pack had to skip."""
    return [Broken(*one) for one in facts["bad"]]


def _plan(pictures: Pictures, wanted: Wanted, eight: bool, bad: list[Broken]) -> Request:
    """What every picture is to become, from their headers alone, so that errors come early."""
    size, channels, skip_bad, _ = wanted

    def look(item: Named) -> tuple[str, Header | BadImage]:
        return item[0], _attempt(lambda: read_header(item[1]))

    kinds: dict[bool, list[str]] = {True: [], False: []}  # names of the deep ones, and of others
    sizes: dict[Size, str] = {}
    gray = True
    with closing(ordered_map(look, pictures, len(pictures), "Looking at images")) as results:
        for index, (name, header) in enumerate(results):
            if isinstance(header, BadImage):
                bad.append(Broken(index, name, str(header)))
                continue
            gray = gray and header.gray
            kinds[header.deep].append(name)
            if header.size is not None and size is None:
                sizes.setdefault(header.size, name)
    deep, plain = kinds[True], kinds[False]
    if not deep and not plain:
        raise _all_bad(bad)
    depths, wrong = [], []
    if eight:
        deep = []
    elif deep and plain:
        depths.append(
            f"{deep[0]} is a 16-bit grayscale image and {plain[0]} is not ({len(deep)} are and"
            f" {len(plain)} are not): convert the images to one kind, or keep the kinds in"
            " separate folders"
        )
    elif deep and channels not in (None, 1):
        depths.append(
            f"{deep[0]} is a 16-bit grayscale image, which is read with 1 channel only: "
            f"leave out --channels {channels}"
        )
    if len(sizes) > 1:
        (one, one_name), (other, other_name) = list(sizes.items())[:2]
        wrong.append(_sizes_differ((one_name, one), (other_name, other)))
    if depths:
        raise _Depths(str(_problem(bad, skip_bad, *depths, *wrong)))
    if wrong:
        raise _problem(bad, skip_bad, *wrong)
    return Request(channels or (1 if gray else 3), bool(deep), size)


def _attempt(read: Callable[[], Result]) -> Result | BadImage:
    try:
        return read()
    except BadImage as error:
        return error


def _problem(bad: Sequence[Broken], skip_bad: bool, *wrong: str) -> GlowkitError:
    """One sentence about everything that is wrong."""
    said = [*wrong]
    if bad and not skip_bad:
        them = "it" if len(bad) == 1 else "them"
        said.insert(0, f"{unreadable(bad)}: repair or remove {them}, or pass --skip-bad")
    return GlowkitError("; besides, ".join(said))


def _all_bad(bad: Sequence[Broken]) -> GlowkitError:
    return GlowkitError(f"none of the {len(bad)} images can be read: {unreadable(bad)}")


def _sizes_differ(one: tuple[str, Size], other: tuple[str, Size]) -> str:
    return (
        f"images differ in size: {one[0]} is {one[1][0]}x{one[1][1]} and {other[0]} is "
        f"{other[1][0]}x{other[1][1]}; pass --size to bring all to one size"
    )
