"""The five standard tables: prepared as the MAF paper's code does, on small files of its kinds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from glowkit.data import TableSource, open_source
from glowkit.system.errors import GlowkitError

RANDOM = np.random.default_rng(0)


def opened(name: str, folder: Path) -> dict[str, np.ndarray]:
    source = open_source(f"table:{name}:{folder}")
    assert isinstance(source, TableSource)
    assert source.columns[0] == "x0"
    return {split: part.rows.numpy() for split, part in source.splits.items()}


def written(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    return folder / name


def check(found: dict[str, np.ndarray], wanted: tuple[np.ndarray, ...]) -> None:
    for split, rows in zip(("train", "validation", "test"), wanted, strict=True):
        assert found[split].shape == rows.shape
        np.testing.assert_allclose(found[split], rows, rtol=1e-5, atol=1e-5)


def tenths(rows: np.ndarray) -> tuple[np.ndarray, ...]:
    held = int(0.1 * len(rows))
    rest = rows[:-held]
    again = int(0.1 * len(rest))
    return rest[:-again], rest[-again:], rows[-held:]


def scaled(train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, ...]:
    both = np.vstack([train, validation])
    return tuple((part - both.mean(0)) / both.std(0) for part in (train, validation, test))


def test_miniboone(tmp_path: Path) -> None:
    rows = RANDOM.normal(size=(203, 4)) * 7 + 3
    np.save(written(tmp_path, "miniboone") / "data.npy", rows)
    check(opened("miniboone", tmp_path), scaled(*tenths(rows)))


def test_power(tmp_path: Path) -> None:
    """As in gpapamak/maf: shuffled, two columns deleted, noise drawn in that order."""
    rows = RANDOM.integers(0, 50, size=(150, 8)).astype(float)
    np.save(written(tmp_path, "power") / "data.npy", rows)
    state, data = np.random.RandomState(42), rows.copy()
    state.shuffle(data)
    data = np.delete(np.delete(data, 3, axis=1), 1, axis=1)
    voltage, gap = 0.01 * state.rand(150, 1), 0.001 * state.rand(150, 1)
    data = data + np.hstack([gap, voltage, state.rand(150, 3), np.zeros((150, 1))])
    found = opened("POWER", tmp_path)
    check(found, scaled(*tenths(data)))
    assert found["train"].shape == (122, 6)


def test_gas(tmp_path: Path) -> None:
    base = RANDOM.normal(size=(120, 3))
    alike = base[:, :1] + 1e-3 * RANDOM.normal(size=(120, 1))  # of a pair, the first is dropped
    table = np.hstack([np.arange(120)[:, None], RANDOM.normal(size=(120, 2)), base, alike])
    names = "Time,Meth,Eth,R1,R2,R3,R4"
    lines = [",".join(map(repr, row)) for row in table.tolist()]
    (written(tmp_path, "gas") / "ethylene_CO.csv").write_text("\n".join([names, *lines]))
    kept = np.hstack([base[:, 1:], alike])
    check(opened("gas", tmp_path), tenths((kept - kept.mean(0)) / kept.std(0, ddof=1)))


def test_hepmass(tmp_path: Path) -> None:
    folder = written(tmp_path, "hepmass")

    def make(count: int, extra: int) -> np.ndarray:
        label = np.arange(count) % 2
        spiky = np.maximum(RANDOM.normal(size=(count, 1)), 0)  # its least value is often there
        fine = RANDOM.normal(size=(count, 2 + extra))
        return np.hstack([label[:, None], spiky, fine])

    train, test = make(200, 0), make(60, 1)
    for name, table in (("train", train), ("test", test)):
        header = ",".join(f"f{i}" for i in range(table.shape[1]))
        lines = [",".join(map(repr, row)) for row in table.tolist()]
        (folder / f"1000_{name}.csv").write_text("\n".join([header, *lines]))
    signal, held = train[train[:, 0] == 1][:, 1:], test[test[:, 0] == 1][:, 1:-1]
    mean, deviation = signal.mean(0), signal.std(0, ddof=1)
    signal, held = ((part - mean) / deviation for part in (signal, held))
    wanted = signal[:-10, 1:], signal[-10:, 1:], held[:, 1:]
    check(opened("hepmass", tmp_path), wanted)


def test_bsds300(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    parts = [RANDOM.normal(size=(count, 5)) for count in (30, 4, 6)]
    with h5py.File(written(tmp_path, "BSDS300") / "BSDS300.hdf5", "w") as file:
        for split, rows in zip(("train", "validation", "test"), parts, strict=True):
            file[split] = rows
    check(opened("BSDS300", tmp_path), tuple(parts))


def pickle(folder: Path) -> None:
    (written(folder, "gas") / "ethylene_CO.pickle").write_bytes(b"cos\nsystem\n.")


def other_shape(folder: Path) -> None:
    np.save(written(folder, "power") / "data.npy", np.zeros((20, 7)))


def truncated(folder: Path) -> None:
    (written(folder, "BSDS300") / "BSDS300.hdf5").write_bytes(b"\x89HDF\r\n")


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "unknown": ("iris", lambda folder: None, "POWER, GAS, HEPMASS, MINIBOONE, BSDS300"),
    "missing": ("power", lambda folder: None, "Zenodo record 1161203"),
    "pickle": ("gas", pickle, "could run code"),
    "another shape": ("power", other_shape, r"shape \(20, 7\)"),
    "truncated": ("bsds300", truncated, "damaged or truncated"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_get_a_sentence(tmp_path: Path, case: str) -> None:
    name, make, words = BAD[case]
    make(tmp_path)
    with pytest.raises(GlowkitError, match=words):
        open_source(f"table:{name}:{tmp_path}")
