"""Headers of arrays on disk: believed only as far as the file bears them out, and never run."""

import gzip
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from glowkit import GlowkitError
from glowkit.data import open_source
from glowkit.data.fashion import read_idx
from glowkit.system import arrays
from glowkit.system.arrays import npy_array, npz_arrays


def npy(header: str | bytes, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    text = header.encode() if isinstance(header, str) else header
    field = "<H" if version == b"\1\0" else "<I"
    return b"\x93NUMPY" + version + struct.pack(field, len(text)) + text + data


def plain(shape: object, descr: str = "'|u1'", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


WRONG = {
    "a petabyte": (npy(plain((300000000, 8, 8))), r"19,200,000,000 bytes, and 0 follow"),
    "an overflow": (npy(plain((2**62, 2**62, 8))), "truncated or damaged"),
    "a number of many digits": (npy(plain(f"({'9' * 5000},)")), "cannot be understood"),
    "a product of many digits": (npy(plain((10**29,) * 30)), "truncated or damaged"),
    "a negative side": (npy(plain((-1, 8, 8)), bytes(64)), "cannot be understood"),
    "many axes": (npy(plain((1,) * 40), b"1"), "40 axes"),
    "too few bytes": (npy(plain((5, 8, 8)), bytes(319)), "320 bytes, and 319 follow"),
    "too many bytes": (npy(plain((5, 8, 8)), bytes(321)), "320 bytes, and 321 follow"),
    "a header without end": (npy(plain((5, 8, 8)))[:20], "within its header"),
    "a header of a megabyte": (npy(plain((1, 8, 8)) + " " * 10**6, version=b"\2\0"), "1,000,0"),
    "a header of 4 GB": (b"\x93NUMPY\2\0\xff\xff\xff\xff", "4,294,967,295"),
    "a later version": (npy(plain((1,)), version=b"\4\0"), "does not begin as one"),
    "nothing": (b"", "it is empty"),
    "text": (b"not an array", "does not begin as one"),
    "an expression": (npy(plain("(__import__('os').system('false'),)")), "understood"),
    "brackets": (npy("(" * 9000), "understood"),
    "minus signs": (npy(plain("-" * 9000 + "1")), "understood"),
    "a missing key": (npy("{'descr': '|u1', 'shape': (1,)}", b"1"), "understood"),
    "an order that is none": (npy(plain((1,), order="(1,)"), b"1"), "understood"),
    "bytes that are no text": (npy(b"\xff" * 60), "damaged"),
    "objects": (npy(plain((1,), "'|O'"), b"cos\nsystem\n(S'false'\ntR."), "pickled"),
    "named fields": (npy(plain((1,), "[('a', '<f4')]"), bytes(4)), "named fields"),
    "an odd width": (npy(plain((1,), "'<f3'"), bytes(3)), "unknown type"),
    "no type": (npy(plain((1,), "'zz'"), bytes(3)), "unknown type"),
}


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("case", WRONG)
def test_a_header_that_lies_is_refused_before_anything_is_made(
    tmp_path: Path, case: str, suffix: str
) -> None:
    data, words = WRONG[case]
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        path.write_bytes(data)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", data)
    tracemalloc.start()
    with pytest.raises(GlowkitError, match=words) as error:
        open_source(str(path))
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500 + len(str(path))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["|b1", "|i1", "<i2", ">i8", "<f2", ">f8", "<c8", "<U3", "|S2"])
def test_what_numpy_writes_is_understood(tmp_path: Path, kind: str, order: str) -> None:
    array = np.asarray(np.arange(24).reshape(2, 3, 4) % 2, order=order).astype(kind, order="K")
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "b.npz", x=array)
    np.savez_compressed(tmp_path / "c.npz", x=array)
    single = npy_array(tmp_path / "a.npy")
    for stored in (single, *(npz_arrays(tmp_path / f"{name}.npz")["x"] for name in "bc")):
        assert np.dtype(stored.type) == array.dtype
        assert (stored.shape, stored.itemsize) == (array.shape, array.itemsize)
        assert stored.fortran_order == (order == "F")
        assert b"".join(stored.pieces(1)) == array.tobytes(order)


def test_keys_of_a_header_in_any_order_and_quotes(tmp_path: Path) -> None:
    header = '{"shape":(2 , 3),"fortran_order":False,"descr":"<i2"}'
    (tmp_path / "a.npy").write_bytes(npy(header, bytes(12), b"\3\0"))
    assert npy_array(tmp_path / "a.npy").shape == (2, 3)


def test_an_archive_that_unpacks_to_a_thousand_times_its_size(tmp_path: Path) -> None:
    size = 300 * 2**20
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as member,
    ):
        member.write(npy(plain((size // 64, 8, 8))))
        for _ in range(300):
            member.write(bytes(2**20))
    with pytest.raises(GlowkitError, match="would unpack"):
        open_source(str(tmp_path / "bomb.npz"))


def test_archives_that_no_numpy_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = npy(plain((2,)), b"ab")
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", array)
    with pytest.raises(GlowkitError, match="compression"):
        npz_arrays(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", array)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", array)
    with pytest.raises(GlowkitError, match="two arrays called x"):
        npz_arrays(path)
    np.savez(path, a=np.zeros(2), b=np.zeros(2))
    monkeypatch.setattr(arrays, "MOST_ARRAYS", 1)
    with pytest.raises(GlowkitError, match="2 arrays, and at most 1"):
        npz_arrays(path)


def test_a_size_in_the_directory_that_the_member_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((4, 8, 8), np.uint8))
    data = path.read_bytes()
    size = struct.pack("<I", 256 + 128)
    assert data.count(size) >= 2
    path.write_bytes(data.replace(size, struct.pack("<I", 256 + 127)))
    with pytest.raises(GlowkitError, match="damaged"):
        open_source(str(path))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("header", "words"),
    [
        (struct.pack(">I3I", 0x803, 2**32 - 1, 2**32 - 1, 28), "truncated|would unpack"),
        (struct.pack(">I3I", 0x803, 300000000, 8, 8), "truncated|would unpack"),
        (struct.pack(">I3I", 0x803, 1000, 8, 8), "truncated"),
        (struct.pack(">I", 0x8FF) + bytes(4 * 255), "not an IDX"),
    ],
)
def test_idx_headers_that_lie(tmp_path: Path, header: bytes, words: str, zipped: bool) -> None:
    (tmp_path / "idx").write_bytes(gzip.compress(header) if zipped else header)
    tracemalloc.start()
    with pytest.raises(GlowkitError, match=words):
        read_idx(tmp_path / "idx")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_an_empty_idx_file_of_images(tmp_path: Path) -> None:
    (tmp_path / "idx").write_bytes(struct.pack(">I3I", 0x803, 0, 28, 28))
    assert read_idx(tmp_path / "idx").shape == (0, 28, 28)
