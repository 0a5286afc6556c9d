"""The five tables that densities are compared on, prepared as Papamakarios et al. 2017 did."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from glowkit.data.table import Choice, TableSource, build_table, read_table
from glowkit.system.arrays import npy_array, sentences
from glowkit.system.errors import GlowkitError

FOLDER = "data"  # what the archive unpacks to
ARCHIVE = "the archive of the MAF paper's data, Zenodo record 1161203"
CORRELATED = 0.98
MOST_EQUAL = 5

Parts = dict[str, np.ndarray]
"""Rows of "train", "validation" and "test", (N, D) float64."""


def open_standard(spec: str, name: str, folder: Path, choice: Choice) -> TableSource:
    """POWER, GAS, HEPMASS, MINIBOONE or BSDS300, from the files of that archive in a folder.

    Rows, columns, noise, splits and the scaling of each are those of gpapamak/maf, so that test
    figures in nats compare with published ones. Departure: GAS is read from a .parquet or .csv file
    made of the archive's pickle, since unpickling can run code.

    Raises GlowkitError for a name that does not exist, and for files that are missing or not those.
    """
    found = STANDARD.get(name.upper())
    if found is None:
        raise GlowkitError(f"there is no table {name!r}; choose one of {', '.join(STANDARD)}")
    parts = found(folder)
    names = [f"x{i}" for i in range(parts["train"].shape[1])]
    columns, given = choice.of(spec, names)
    order = [names.index(column) for column in [*columns, *given]]
    chosen = {split: rows[:, order] for split, rows in parts.items()}
    return build_table(spec, chosen, columns, given)


def _power(folder: Path) -> Parts:
    """Without columns 1 and 3, with noise of the size of the others' steps, shuffled by seed 42."""
    rows = _array(folder / "power" / "data.npy", 8)
    random = np.random.RandomState(42)
    random.shuffle(rows)
    rows = np.delete(rows, [1, 3], axis=1)  # global reactive power and intensity
    count = len(rows)
    voltage, gap = 0.01 * random.rand(count, 1), 0.001 * random.rand(count, 1)
    metering, time = random.rand(count, 3), np.zeros((count, 1))
    noise = np.hstack([gap, voltage, metering, time])
    return _scaled(_last_tenths(rows + noise))


def _gas(folder: Path) -> Parts:
    """Without time and concentrations, nor the first of any columns correlated above 0.98."""
    place = folder / "gas"
    found = [place / f"ethylene_CO{suffix}" for suffix in (".parquet", ".csv")]
    path = next((path for path in found if path.is_file()), None)
    if path is None:
        pickle = place / "ethylene_CO.pickle"
        if pickle.is_file():
            raise GlowkitError(
                f"{pickle} is a pickle, which is not read because it could run code; if you trust"
                " it, convert it by: python -c \"import pandas; pandas.read_pickle('"
                f"{pickle}').to_parquet('{found[0]}', index=False)\""
            )
        raise _missing(found[0])
    names, rows = read_table(path)
    kept = [i for i, name in enumerate(names) if name not in ("Meth", "Eth", "Time")]
    rows = rows[:, kept]
    while rows.shape[1] > 1:
        alike = (np.corrcoef(rows.T) > CORRELATED).sum(0) > 1  # each is alike to itself
        if not alike.any():
            break
        rows = np.delete(rows, int(np.argmax(alike)), axis=1)
    return _last_tenths((rows - rows.mean(0)) / rows.std(0, ddof=1))


def _hepmass(folder: Path) -> Parts:
    """The signal (class 1) alone, without columns whose least value is there more than 5 times."""
    place = folder / "hepmass"
    train, test = (_signal(place / f"1000_{split}.csv") for split in ("train", "test"))
    size = train.shape[1]
    if test.shape[1] < size:
        raise GlowkitError(
            f"{place / '1000_test.csv'} has {test.shape[1]} columns for the {size} of 1000_train"
            f".csv; use the files of {ARCHIVE}"
        )
    mean, deviation = train.mean(0), train.std(0, ddof=1)
    train = (train - mean) / deviation
    test = (test[:, :size] - mean) / deviation  # the file's last column is one too many
    kept = (train == train.min(0)).sum(0) <= MOST_EQUAL
    train, test = train[:, kept], test[:, kept]
    held = int(0.1 * len(train))
    return {"train": train[:-held], "validation": train[-held:], "test": test}


def _signal(path: Path) -> np.ndarray:
    """The rows of class 1, without the class, whatever their header says of their number."""
    from pyarrow import csv

    if not path.is_file():
        raise _missing(path)
    options = csv.ReadOptions(skip_rows=1, autogenerate_column_names=True)
    with sentences(str(path), ".csv"):
        found = csv.read_csv(path, read_options=options)
        rows = np.stack([np.asarray(c.to_numpy(), np.float64) for c in found.columns], axis=1)
        with open(path, encoding="utf-8") as file:
            rows = rows[:, : file.readline().count(",") + 1]
    return rows[rows[:, 0] == 1][:, 1:]


def _miniboone(folder: Path) -> Parts:
    return _scaled(_last_tenths(_array(folder / "miniboone" / "data.npy", None)))


def _bsds300(folder: Path) -> Parts:
    path = folder / "BSDS300" / "BSDS300.hdf5"
    if not path.is_file():
        raise _missing(path)
    try:
        import h5py
    except ImportError as error:
        raise GlowkitError(f"{path} needs h5py to be read: pip install 'glowkit[h5]'") from error
    with sentences(str(path), ".hdf5"), h5py.File(path, "r") as file:
        return {
            split: np.asarray(file[split][:], dtype=np.float64)
            for split in ("train", "validation", "test")
        }


STANDARD: dict[str, Callable[[Path], Parts]] = {
    "POWER": _power,
    "GAS": _gas,
    "HEPMASS": _hepmass,
    "MINIBOONE": _miniboone,
    "BSDS300": _bsds300,
}


def _array(path: Path, columns: int | None) -> np.ndarray:
    if not path.is_file():
        raise _missing(path)
    array = npy_array(path)
    if (
        len(array.shape) != 2
        or array.kind not in "iuf"
        or array.shape[1] != (columns or array.shape[1])
    ):
        raise GlowkitError(f"{path} has shape {array.shape}; use the file of {ARCHIVE}")
    with sentences(str(path), ".npy"):
        return np.load(path, allow_pickle=False).astype(np.float64)


def _last_tenths(rows: np.ndarray) -> Parts:
    """The last tenth to test, the last tenth of the others to validate, in the file's order."""
    held = int(0.1 * len(rows))
    test, rows = rows[-held:], rows[:-held]
    held = int(0.1 * len(rows))
    return {"train": rows[:-held], "validation": rows[-held:], "test": test}


def _scaled(parts: Parts) -> Parts:
    """Standardised by training and validation rows together."""
    seen = np.vstack([parts["train"], parts["validation"]])
    mean, deviation = seen.mean(0), seen.std(0)
    return {split: (rows - mean) / deviation for split, rows in parts.items()}


def _missing(path: Path) -> GlowkitError:
    return GlowkitError(f"no such file: {path}; unpack {ARCHIVE}, and name its folder")
