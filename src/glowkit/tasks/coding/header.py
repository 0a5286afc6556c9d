"""The header of a compressed file, its plan of batches, and its checksums."""

import binascii
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glowkit.core import GlowkitError
from glowkit.tasks.coding.codec import LEAST_BITS, MOST_BITS, Codec

MAGIC = b"GLWK"
VERSION = 2
BEFORE = struct.Struct("<4sH")
"""Magic and version."""

HEADER = struct.Struct("<B4s")
"""Kind of context and bits; the identity's first bytes. The number of images follows."""

CHECK = struct.Struct("<H")
"""Of the file, at its end. That of the images, of 32 bits, lies at the bottom of the stack."""

FIRST_HEADER, FIRST_CHECK = struct.Struct("<B16sIIIIIBI"), struct.Struct("<I")
"""Of version 1: kind, identity, levels, C, H, W, images, bits, CRC of the images; CRC of the file.
"""

NONE, LABELS, VECTORS = range(3)
_KIND_BITS = 2

DAMAGED = "this compressed file is damaged: {}; use another copy"

Plan = list[tuple[int, int]]
"""Pairs of a batch's images, 0 for one coded without the model, and how many are in a row."""


@dataclass(frozen=True)
class Header:
    """What a file says of its images. checksum: of the images, where it is not on the stack."""

    version: int
    kind: int
    identity: bytes
    count: int
    bits: int
    checksum: int | None

    def fits(self, codec: Codec) -> bool:
        """Whether the codec is the one that the images were coded by."""
        kind = LABELS if codec.classes else VECTORS if codec.features else NONE
        return (self.kind, self.identity) == (kind, codec.identity[: len(self.identity)])


def file_of(codec: Codec, kind: int, count: int, plan: Plan, stack: bytes) -> bytes:
    """A whole file."""
    header = BEFORE.pack(MAGIC, VERSION)
    header += HEADER.pack(kind | codec.bits << _KIND_BITS, codec.identity[:4])
    body = header + numbers_bytes([count]) + plan_bytes(plan) + stack
    return body + CHECK.pack(binascii.crc_hqx(body, 0))


def size_beside(count: int, plan: Plan) -> int:
    """Bytes of a file besides those of its stack."""
    numbers = len(numbers_bytes([count])) + len(plan_bytes(plan))
    return BEFORE.size + HEADER.size + numbers + CHECK.size


def numbers_bytes(numbers: list[int]) -> bytes:
    """Whole numbers in groups of seven bits, the low ones first."""
    out = bytearray()
    for number in numbers:
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


def plan_bytes(plan: Plan) -> bytes:
    """A plan as whole numbers."""
    return numbers_bytes([number for pair in plan for number in pair])


def parsed(data: bytes) -> tuple[Header, Plan, NDArray[np.uint32]]:
    """Header, plan and words of a file. Raises GlowkitError for one that is none, or damaged."""
    data = bytes_of_file(data, MAGIC, "glowkit compress")
    if len(data) < BEFORE.size:
        raise GlowkitError(DAMAGED.format("it ends in its header"))
    _, version = BEFORE.unpack_from(data)
    if version not in (1, VERSION):
        raise GlowkitError(
            f"this compressed file is of version {version}, and this glowkit reads 1 to {VERSION};"
            " it is damaged, or needs another glowkit"
        )
    header, at, body = (_first if version == 1 else _second)(data)
    if not LEAST_BITS <= header.bits <= MOST_BITS:
        raise GlowkitError(DAMAGED.format("its header holds what cannot be"))
    plan, at = _plan_of(body, at, header.count)
    rest = body[at:]
    if not plan or (version == 1 and len(rest) % 4):
        raise GlowkitError(DAMAGED.format("its parts do not fit together"))
    return header, plan, np.frombuffer(rest + bytes(-len(rest) % 4), "<u4").astype(np.uint32)


def bytes_of_file(data: object, magic: bytes, command: str) -> bytes:
    """The bytes of a file that a command wrote. GlowkitError for what is none."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise GlowkitError(
            f"compressed images are bytes, not a {type(data).__name__}; read the file first"
        )
    data = bytes(data)
    if not data.startswith(magic):
        raise GlowkitError(f"this is no file of {command}: it does not begin with {magic.decode()}")
    return data


def _first(data: bytes) -> tuple[Header, int, bytes]:
    start = BEFORE.size + FIRST_HEADER.size
    if len(data) < start + FIRST_CHECK.size:
        raise GlowkitError(DAMAGED.format("it ends in its header"))
    body = _checked(data, FIRST_CHECK, zlib.crc32)
    kind, identity, *_, count, bits, checksum = FIRST_HEADER.unpack_from(body, BEFORE.size)
    return Header(1, kind, identity, count, bits, checksum), start, body


def _second(data: bytes) -> tuple[Header, int, bytes]:
    start = BEFORE.size + HEADER.size
    if len(data) < start + 1 + CHECK.size:
        raise GlowkitError(DAMAGED.format("it ends in its header"))
    body = _checked(data, CHECK, lambda body: binascii.crc_hqx(body, 0))
    packed, identity = HEADER.unpack_from(body, BEFORE.size)
    count, start = number_at(body, start)
    kind, bits = packed & ((1 << _KIND_BITS) - 1), packed >> _KIND_BITS
    return Header(VERSION, kind, identity, count, bits, None), start, body


def _checked(data: bytes, kind: struct.Struct, check: Callable[[bytes], int]) -> bytes:
    body, found = data[: -kind.size], data[-kind.size :]
    if kind.unpack(found) != (check(body),):
        raise GlowkitError(DAMAGED.format("its checksum is wrong, or its end is missing"))
    return body


def _plan_of(body: bytes, at: int, count: int) -> tuple[Plan, int]:
    plan, left = Plan(), count
    while left > 0:
        size, at = number_at(body, at)
        repeats, at = number_at(body, at)
        left -= max(size, 1) * repeats
        if left < 0 or not repeats:
            raise GlowkitError(DAMAGED.format("its plan is not of its images"))
        plan.append((size, repeats))
    return plan, at


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
