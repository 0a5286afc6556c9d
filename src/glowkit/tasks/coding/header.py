"""The header of a compressed file, its plan of batches, and its checksum."""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from glowkit.core import GlowkitError
from glowkit.tasks.coding.codec import LEAST_BITS, MOST_BITS

MAGIC = b"GLWK"
VERSION = 1
HEADER = struct.Struct("<4sHB16sIIIIIBI")
"""Magic, version, kind of context, identity, levels, C, H, W, images, bits, CRC of the images."""

CHECK = struct.Struct("<I")
NONE, LABELS, VECTORS = range(3)

DAMAGED = "this compressed file is damaged: {}; use another copy"


def plan_bytes(plan: list[tuple[int, int]]) -> bytes:
    """Its numbers in groups of seven bits."""
    return numbers_bytes(number for pair in plan for number in pair)


def numbers_bytes(numbers: Iterable[int]) -> bytes:
    """Whole numbers in groups of seven bits, the low ones first."""
    out = bytearray()
    for number in numbers:
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


@dataclass(frozen=True)
class Header:
    """What a file says of its images."""

    kind: int
    identity: bytes
    levels: int
    shape: tuple[int, ...]
    count: int
    bits: int
    checksum: int


def parsed(data: bytes) -> tuple[Header, list[tuple[int, int]], Any]:
    """Header, plan and words of a file. Raises GlowkitError for one that is none, or damaged."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise GlowkitError(
            f"compressed images are bytes, not a {type(data).__name__}; read the file first"
        )
    data = bytes(data)
    if data[:4] != MAGIC:
        raise GlowkitError("this is no file of glowkit compress: it does not begin with GLWK")
    least = HEADER.size + CHECK.size
    if len(data) < least:
        raise GlowkitError(DAMAGED.format("it ends in its header"))
    body, check = data[: -CHECK.size], data[-CHECK.size :]
    _, version, kind, identity, levels, *rest = HEADER.unpack_from(body)
    if version != VERSION:
        raise GlowkitError(
            f"this compressed file is of version {version}, and this glowkit reads {VERSION}; it is"
            " damaged, or needs another glowkit"
        )
    if CHECK.unpack(check) != (zlib.crc32(body),):
        raise GlowkitError(DAMAGED.format("its checksum is wrong, or its end is missing"))
    *shape, count, bits, checksum = rest
    header = Header(kind, identity, levels, tuple(shape), count, bits, checksum)
    plan, at = _plan_of(body, HEADER.size, count)
    rest_size = len(body) - at
    if rest_size % 4 or not plan:
        raise GlowkitError(DAMAGED.format("its parts do not fit together"))
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise GlowkitError(DAMAGED.format("its header holds what cannot be"))
    return header, plan, np.frombuffer(body, "<u4", offset=at).astype(np.uint32)


def number_at(body: bytes, at: int) -> tuple[int, int]:
    """The number of `numbers_bytes` at a place, and the place after it."""
    number, shift = 0, 0
    while True:
        if at >= len(body) or shift > 35:
            raise GlowkitError(DAMAGED.format("its plan has no end"))
        number |= (body[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if not body[at - 1] & 128:
            return number, at


def _plan_of(body: bytes, at: int, count: int) -> tuple[list[tuple[int, int]], int]:
    plan, left = [], count
    while left > 0:
        pair = []
        for _ in range(2):
            number, at = number_at(body, at)
            pair.append(number)
        size, repeats = pair
        left -= max(size, 1) * repeats
        if left < 0 or not repeats:
            raise GlowkitError(DAMAGED.format("its plan is not of its images"))
        plan.append((size, repeats))
    return plan, at
