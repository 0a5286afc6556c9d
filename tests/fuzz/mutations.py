"""Ways to damage a file: its bytes, the values of its text, or the parts of its container."""

import io
import json
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

Rng = np.random.Generator
Mutation = Callable[[Rng, bytes], bytes]

NUMBERS = (
    b"0",
    b"-1",
    b"1e12",
    b"1000000000000",
    b"99999999999999999999999999",
    b"1e400",
    b"-1e400",
    b"NaN",
    b"nan",
    b"-inf",
    b"Infinity",
    b".5",
    b"0x7f",
    b"1_000",
    b"2**31",
    b"9" * 5000,
    b"3.0000000000000001",
    b"true",
)
JUNK = (
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\n\n",
    b",,,,",
    b'"',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"- " * 50_000,
    b"\xe2\x80\xa8\xf0\x9f\x98\x80",
    b"\x80\x81\xfe",
    b"%s%n\x1b[31m",
    b"!!python/object/apply:os.system ['touch canary']\n",
    b"cos\nsystem\n(S'touch canary'\ntR.",
    b"A" * 100_000,
)
LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
)
EXTREMES: tuple[Any, ...] = (
    0,
    -1,
    1,
    3,
    2**31,
    2**63,
    10**12,
    10**400,
    1e308,
    -0.0,
    float("nan"),
    float("inf"),
    None,
    True,
    "",
    "3",
    "x" * 10_000,
    "../../x",
    "\x00",
    [],
    {},
    [[]],
    [1, 2, 3],
    [1, 8, 8, 8],
    {"a": 1},
    ["a"] * 10_000,
)


def at(rng: Rng, data: bytes) -> int:
    return int(rng.integers(len(data) + 1))


def span(rng: Rng, data: bytes) -> tuple[int, int]:
    start = at(rng, data)
    return start, min(len(data), start + int(2 ** rng.uniform(0, 10)))


def flip(rng: Rng, data: bytes) -> bytes:
    changed = bytearray(data or b"\x00")
    for _ in range(int(2 ** rng.uniform(0, 5))):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def flip_early(rng: Rng, data: bytes) -> bytes:
    """In the first bytes, where headers are."""
    start = min(len(data), 256)
    return flip(rng, data[:start]) + data[start:]


def truncate(rng: Rng, data: bytes) -> bytes:
    return data[: at(rng, data)]


def behead(rng: Rng, data: bytes) -> bytes:
    return data[at(rng, data) :]


def drop(rng: Rng, data: bytes) -> bytes:
    start, stop = span(rng, data)
    return data[:start] + data[stop:]


def duplicate(rng: Rng, data: bytes) -> bytes:
    start, stop = span(rng, data)
    place = at(rng, data)
    return data[:place] + data[start:stop] * int(rng.integers(1, 4)) + data[place:]


def blank(rng: Rng, data: bytes) -> bytes:
    start, stop = span(rng, data)
    filling = (b"\x00", b"\xff", b" ", b"0")[int(rng.integers(4))]
    return data[:start] + filling * (stop - start) + data[stop:]


def swap(rng: Rng, data: bytes) -> bytes:
    one, other = sorted((span(rng, data), span(rng, data)))
    cut = max(other[0], one[1])
    return (
        data[: one[0]]
        + data[cut : other[1]]
        + data[one[1] : cut]
        + data[one[0] : one[1]]
        + data[other[1] :]
    )


def insert(rng: Rng, data: bytes) -> bytes:
    place = at(rng, data)
    return data[:place] + JUNK[int(rng.integers(len(JUNK)))] + data[place:]


def replace_number(rng: Rng, data: bytes) -> bytes:
    found = list(re.finditer(rb"-?\d+(\.\d+)?(e[+-]?\d+)?", data))
    if not found:
        return insert(rng, data)
    match = found[int(rng.integers(len(found)))]
    return data[: match.start()] + NUMBERS[int(rng.integers(len(NUMBERS)))] + data[match.end() :]


def lines(rng: Rng, data: bytes) -> bytes:
    """Drop, repeat or move lines."""
    parts = data.split(b"\n")
    for _ in range(int(rng.integers(1, 4))):
        line = parts.pop(int(rng.integers(len(parts)))) if len(parts) > 1 else b""
        for _ in range(int(rng.integers(3))):
            parts.insert(int(rng.integers(len(parts) + 1)), line)
    return b"\n".join(parts)


def encode(rng: Rng, data: bytes) -> bytes:
    """As another program may save a text; what is no text stays as it is."""
    name = ("utf-16", "utf-32", "utf-8-sig", "cp037", "utf-16-be")[int(rng.integers(5))]
    return data.decode("latin-1").encode(name, "replace")


def nothing(rng: Rng, data: bytes) -> bytes:
    return b""


def set_word(rng: Rng, data: bytes) -> bytes:
    """A large number in place of four or eight bytes, of either order."""
    code = ("<I", ">I", "<Q", ">Q")[int(rng.integers(4))]
    word = struct.pack(code, int(rng.choice([0, 1, 2**16, 2**31, 2**32 - 1])))
    place = at(rng, data[:512])
    return data[:place] + word + data[place + len(word) :]


BYTES: tuple[Mutation, ...] = (
    flip,
    flip,
    flip_early,
    truncate,
    behead,
    drop,
    duplicate,
    blank,
    swap,
    insert,
    nothing,
    set_word,
)
TEXT: tuple[Mutation, ...] = (
    *BYTES,
    replace_number,
    replace_number,
    replace_number,
    lines,
    lines,
    encode,
)


def change_value(rng: Rng, value: Any) -> Any:
    """A value with one of its parts replaced by an extreme one, removed, renamed or nested."""
    places: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        items = inner.items() if isinstance(inner, dict) else enumerate(inner)
        for key, below in items:
            places.append((inner, key))
            if isinstance(below, dict | list):
                walk(below)

    if isinstance(value, dict | list):
        walk(value)
    if not places or rng.random() < 0.02:
        return extreme(rng)
    holder, key = places[int(rng.integers(len(places)))]
    match int(rng.integers(6)):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[f"{key}{'s' * int(rng.integers(1, 4))}"] = holder.pop(key)
        case 2:
            deep: Any = holder[key]
            for _ in range(int(rng.choice([1, 5, 300]))):
                deep = [deep]
            holder[key] = deep
        case 3 if isinstance(holder[key], str):
            holder[key] = holder[key][::-1]
        case _:
            holder[key] = extreme(rng)
    return value


def extreme(rng: Rng) -> Any:
    return deepcopy(EXTREMES[int(rng.integers(len(EXTREMES)))])


def change_json(rng: Rng, data: bytes) -> bytes:
    value = json.loads(data)
    for _ in range(int(rng.integers(1, 3))):
        value = change_value(rng, value)
    return json.dumps(value).encode()


def change_yaml(rng: Rng, data: bytes) -> bytes:
    import yaml

    if rng.random() < 0.15:
        tags = ("!!python/object/apply:os.system [touch canary]", "!!binary aGk=", "2020-13-45")
        tags += ("!!set {a, b}", "2020-01-01", "<<: *a", "&a [*a]", "1:30", "!x y", LAUGHS)
        key = (b"model:", b"size: ", b"steps: ", b"spec: ", b"epochs: ")[int(rng.integers(5))]
        tag = tags[int(rng.integers(len(tags)))].encode()
        return data.replace(key, key + b" " + tag + b"\n", 1) if rng.random() < 0.7 else tag + data
    value = yaml.safe_load(data)
    for _ in range(int(rng.integers(1, 3))):
        value = change_value(rng, value)
    return json.dumps(value).encode()  # which is YAML too, and nests as deep as one likes


def change_safetensors(rng: Rng, data: bytes) -> bytes:
    """Of a header, whose length is put right again."""
    size = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + size], data[8 + size :]
    if rng.random() < 0.6:
        header = change_json(rng, header)
    else:
        header = TEXT[int(rng.integers(len(TEXT)))](rng, header)
    if rng.random() < 0.2:
        body = BYTES[int(rng.integers(len(BYTES)))](rng, body)
    return len(header).to_bytes(8, "little") + header + body


def change_member(rng: Rng, data: bytes) -> bytes:
    """Of a zip archive, whose checksums are put right again; of another file, its first text."""
    if not data.startswith(b"PK"):
        return replace_number(rng, data[:128]) + data[128:]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    names = list(members)
    name = names[int(rng.integers(len(names)))]
    match int(rng.integers(8)):
        case 0:
            del members[name]
        case 1:
            members[f"{name}x"] = members.pop(name)
        case 2:
            members[names[int(rng.integers(len(names)))]] = members[name]
        case _:
            members[name] = TEXT[int(rng.integers(len(TEXT)))](rng, members[name])
    packed = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if rng.random() < 0.3 else zipfile.ZIP_STORED
    with zipfile.ZipFile(packed, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name given twice
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def one_of(*mutations: Mutation) -> Mutation:
    """Any of these; one in eight is followed by another."""

    def mutate(rng: Rng, data: bytes) -> bytes:
        data = mutations[int(rng.integers(len(mutations)))](rng, data)
        if rng.random() < 0.125:
            data = BYTES[int(rng.integers(len(BYTES)))](rng, data)
        return data

    return mutate
