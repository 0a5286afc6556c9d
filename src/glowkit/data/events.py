"""Events of a resonance search from files: .csv, .npy, and the .h5 of the LHC Olympics."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glowkit.data.columns import is_number
from glowkit.data.resonance import Events
from glowkit.system.arrays import npy_array, sentences
from glowkit.system.errors import GlowkitError

MOST_NAMED = 30  # columns in a sentence
TEV = 1e-3  # in GeV

Columns = dict[str, np.ndarray]


def read_events(
    path: Path,
    mass: str,
    features: Sequence[str] | None = None,
    truth: str | None = None,
) -> Events:
    """Events of a file, by the names of its columns.

    Columns of an .npy (N, C) are called 0 to C − 1. An .h5 is a table as pandas writes one in the
    format `fixed`, an array (N, C), or arrays (N,) by name. Where there are the LHC Olympics'
    momenta of two jets, `mjj`, `mj1`, `dmj`, `tau21j1` and `tau21j2` are columns too (masses in
    TeV, the lighter jet first, τ₂₁ 0 where τ₁ is: Hallin et al. 2021, section II), and are the
    features by default.

    Args:
        mass: the column of the resonant variable.
        features: columns; by default all that are neither `mass` nor `truth`.
        truth: the column that is 1 for signal and 0 for background; for assessment alone.

    Raises:
        GlowkitError: for files that are not such tables, columns that do not exist or are used
            twice, text, and a truth other than 0 and 1. .h5 needs the extra `h5`.
    """
    columns = _columns(path)
    chosen = list(features) if features is not None else _default(columns, mass, truth)
    for name in (mass, *chosen, *([truth] if truth is not None else [])):
        if name not in columns:
            known = list(columns)
            named = ", ".join(known[:MOST_NAMED]) + ", ..." * (len(known) > MOST_NAMED)
            raise GlowkitError(f"{path} has no column {name}; its columns are {named}")
    if mass in chosen or truth in chosen:
        used, what = (mass, "the resonant variable") if mass in chosen else (truth, "the truth")
        raise GlowkitError(
            f"column {used} is {what} and cannot be a feature as well: leave it out of the features"
        )
    if truth == mass:
        raise GlowkitError(f"column {mass} cannot be both the resonant variable and the truth")
    if len(set(chosen)) < len(chosen):
        raise GlowkitError("a feature is named twice; name each column once")
    if not chosen:
        raise GlowkitError(f"{path} has no column left to be a feature beside {mass}")
    x = np.stack([_numbers(columns, name, path) for name in chosen], 1)
    m = _numbers(columns, mass, path)
    return Events(
        torch.from_numpy(x),
        torch.from_numpy(m),
        tuple(chosen),
        mass,
        None if truth is None else _truth(_numbers(columns, truth, path), truth, path),
    )


def _default(columns: Columns, mass: str, truth: str | None) -> list[str]:
    olympics = [name for name in DERIVED if name in columns]
    return [name for name in olympics or columns if name not in (mass, truth)]


def _truth(values: np.ndarray, name: str, path: Path) -> torch.Tensor:
    if not np.isin(values, (0, 1)).all():
        raise GlowkitError(
            f"column {name} of {path} is to say what is signal, 1, and background, 0, and holds"
            " other values"
        )
    return torch.from_numpy(values == 1)


def _numbers(columns: Columns, name: str, path: Path) -> np.ndarray:
    values = columns[name]
    if values.dtype.kind not in "iufb":
        raise GlowkitError(
            f"column {name} of {path} holds {values.dtype.name} in place of numbers: leave it out"
        )
    return np.array(values, dtype=np.float64)


def _columns(path: Path) -> Columns:
    readers = {".csv": _csv, ".npy": _npy, ".h5": _h5, ".hdf5": _h5}
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise GlowkitError(
            f"{path} is not a table of events that can be read; give a .csv, .npy or .h5 file"
        )
    if not os.path.isfile(path):
        raise GlowkitError(f"no such file: {path}")
    columns = readers[suffix](path)
    return columns | _olympics(columns)


def _csv(path: Path) -> Columns:
    with sentences(str(path), ".csv"), open(path, encoding="utf-8-sig") as file:
        names = [name.strip().strip('"') for name in file.readline().split(",")]
        if len(set(names)) < len(names) or not all(names):
            raise GlowkitError(f"{path} begins with names of columns that are empty or equal")
        if all(is_number(name) for name in names):
            raise GlowkitError(f"the first line of {path} must name its columns, and holds numbers")
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of no lines
            values = np.loadtxt(file, delimiter=",", ndmin=2, dtype=np.float64, converters=_number)
    if not values.size:
        raise GlowkitError(f"{path} has no events below its names")
    if values.shape[1] != len(names):
        raise GlowkitError(
            f"{path} names {len(names)} columns and has {values.shape[1]}: save it again"
        )
    return {name: values[:, i] for i, name in enumerate(names)}


def _number(word: str) -> float:
    return float(word) if word.strip() else np.nan


def _npy(path: Path) -> Columns:
    array = npy_array(path)
    if len(array.shape) != 2:
        raise GlowkitError(f"{path} has shape {array.shape}; a table of events is (N, C)")
    with sentences(str(path), ".npy"):
        values = np.load(path, allow_pickle=False)
    return {str(i): values[:, i] for i in range(values.shape[1])}


def _h5(path: Path) -> Columns:
    try:
        import h5py
    except ImportError as error:
        raise GlowkitError(
            f"{path} needs the package h5py: pip install 'glowkit[h5]', or save it as .csv"
        ) from error
    with sentences(str(path), ".h5"), h5py.File(path, "r") as file:
        group = file
        while len(group) == 1 and isinstance(only := next(iter(group.values())), h5py.Group):
            group = only  # pandas keeps a table in a group by its key
        for each in group.values():
            if isinstance(each, h5py.Dataset) and not _readable(each):
                raise GlowkitError(
                    f"{path} is compressed by a method that h5py alone cannot read; write it with"
                    " complib='zlib', or without compression"
                )
        if "axis0" in group:
            return _pandas(group)
        if "table" in group:
            raise GlowkitError(
                f"{path} is a table of pandas in the format 'table'; write it in the format 'fixed'"
            )
        found = {name: each for name, each in group.items() if isinstance(each, h5py.Dataset)}
        if len(found) == 1 and len(next(iter(found.values())).shape) == 2:
            values = next(iter(found.values()))[()]
            return {str(i): values[:, i] for i in range(values.shape[1])}
        lengths = {each.shape for each in found.values()}
        if len(lengths) != 1 or len(next(iter(lengths))) != 1:
            raise GlowkitError(
                f"{path} holds no table: its arrays must be one (N, C), or some (N,) of one length"
            )
        return {name: each[()] for name, each in found.items()}


def _readable(dataset: Any) -> bool:
    from h5py import h5z

    properties = dataset.id.get_create_plist()
    filters = (properties.get_filter(i)[0] for i in range(properties.get_nfilters()))
    return all(h5z.filter_avail(code) for code in filters)


def _pandas(group: Any) -> Columns:
    """The columns of a table in blocks of one type each, in the order of the table."""
    columns: Columns = {}
    place = 0
    while f"block{place}_items" in group:
        values = group[f"block{place}_values"][()]
        for i, name in enumerate(group[f"block{place}_items"][()]):
            columns[_text(name)] = values[:, i]
        place += 1
    return {name: columns[name] for name in map(_text, group["axis0"][()])}


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


MOMENTA = [f"{name}j{jet}" for jet in (1, 2) for name in ("px", "py", "pz", "m", "tau1", "tau2")]
DERIVED = ("mjj", "mj1", "dmj", "tau21j1", "tau21j2")


def _olympics(columns: Columns) -> Columns:
    """The five quantities that searches in the LHC Olympics use, where its momenta are there."""
    if not all(name in columns for name in MOMENTA):
        return {}
    jets = [
        {name: columns[f"{name}j{jet}"].astype(np.float64) for name in ("px", "py", "pz", "m")}
        for jet in (1, 2)
    ]
    for jet in jets:
        jet["e"] = np.sqrt(jet["px"] ** 2 + jet["py"] ** 2 + jet["pz"] ** 2 + jet["m"] ** 2)
    total = {name: jets[0][name] + jets[1][name] for name in ("e", "px", "py", "pz")}
    squared = total["e"] ** 2 - total["px"] ** 2 - total["py"] ** 2 - total["pz"] ** 2
    # A jet of one particle has τ₁ = τ₂ = 0, and no second axis.
    tau21 = [
        columns[f"tau2j{jet}"] / np.where(columns[f"tau1j{jet}"] == 0, 1, columns[f"tau1j{jet}"])
        for jet in (1, 2)
    ]
    first_is_light = jets[0]["m"] < jets[1]["m"]
    light = np.where(first_is_light, jets[0]["m"], jets[1]["m"])
    return {
        "mjj": TEV * np.sqrt(squared),
        "mj1": TEV * light,
        "dmj": TEV * np.abs(jets[1]["m"] - jets[0]["m"]),
        "tau21j1": np.where(first_is_light, *tau21),
        "tau21j2": np.where(first_is_light, *tau21[::-1]),
    }
