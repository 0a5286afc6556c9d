"""Images that cannot be read, told of together: how many of each kind, and the first by name."""

import re
from collections.abc import Sequence
from typing import NamedTuple

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
