"""Tables: rows of numbers from .csv, .parquet and .npy files, with checks of every column."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from glowkit.data.columns import column_faults, is_number, listed, notes_on, refuse
from glowkit.data.source import SPLITS, Source, divide
from glowkit.data.toy import PointSource
from glowkit.system.arrays import npy_array, sentences
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".csv", ".tsv", ".parquet")
DELIMITERS = ",;\t|"
FEWEST_ROWS = 20  # two of them to test on


class TableSplit(Dataset[tuple[Tensor, Tensor | None]]):
    """Rows of one split: x (N, D) and, of a conditional table, the context (N, C), float32.

    names: of the D columns, then of the C.

    >>> split = TableSplit(torch.zeros(5, 2), torch.ones(5, 1))
    >>> len(split), [part.shape for part in split.__getitems__([1, 3])]
    (5, [torch.Size([2, 2]), torch.Size([2, 1])])
    """

    def __init__(
        self, rows: Tensor, context: Tensor | None = None, names: Sequence[str] = ()
    ) -> None:
        self.rows = rows
        self.context = context
        self.names = tuple(names)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]:
        return self.rows[index], None if self.context is None else self.context[index]

    def __getitems__(
        self, indices: Sequence[int] | slice | np.ndarray
    ) -> tuple[Tensor, Tensor | None]:
        """A whole batch, (B, D) and (B, C) or None."""
        rows = indices if isinstance(indices, slice) else np.asarray(indices, dtype=np.int64)
        return self.rows[rows], None if self.context is None else self.context[rows]


@dataclass(frozen=True)
class TableSource:
    """Rows ready for training, in their file's own units.

    name: the words given to `open_source`. splits: "train", "validation" and "test". columns: what
    x is made of, in order; context_columns: what is given, none where nothing is.
    """

    things: ClassVar[str] = "rows"
    class_names: ClassVar[tuple[str, ...]] = ()

    name: str
    splits: dict[str, TableSplit]
    columns: tuple[str, ...]
    context_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


AnySource = Source | PointSource | TableSource


@dataclass(frozen=True)
class Choice:
    """Which columns are x and which are given.

    target: names of x, separated by commas; all others are given. context: names of what is given;
    all others are x. At most one of them. only: of a model trained before, its columns and those of
    its context, which are read in that order, and no others.
    """

    target: str | None = None
    context: str | None = None
    only: tuple[tuple[str, ...], tuple[str, ...]] | None = None

    def of(self, title: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """The names of x and of the context. Raises GlowkitError for those that are not there."""
        if self.only is not None:
            _check_there(title, names, [*self.only[0], *self.only[1]])
            return list(self.only[0]), list(self.only[1])
        if self.target is not None and self.context is not None:
            raise GlowkitError(
                "--target says which columns are modelled and --context which are given, and the"
                " others follow: leave one of them out"
            )
        chosen = self.target if self.context is None else self.context
        if chosen is None:
            return list(names), []
        # A name may have a comma in it.
        named = [chosen] if chosen in names else [part.strip() for part in chosen.split(",")]
        _check_there(title, names, named)
        rest = [name for name in names if name not in named]
        if not rest:
            raise GlowkitError(
                f"{title} has no column besides {listed(named)}: name fewer, or leave out"
                f" --{'target' if self.context is None else 'context'}"
            )
        return (named, rest) if self.context is None else (rest, named)


def _check_there(title: str, names: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise GlowkitError(f"{title} has no column {listed(missing)}; it has {listed(names)}")
    twice = sorted({name for name in wanted if list(wanted).count(name) > 1})
    if twice:
        raise GlowkitError(f"column {listed(twice)} is named twice; name each once")


def is_table(spec: str) -> bool:
    """Whether DATA names a table, as far as can be told without reading more than a header."""
    if spec.startswith("table:"):  # a folder may be called table
        return True
    path = Path(os.path.expanduser(spec))
    if path.suffix.lower() in SUFFIXES:
        return os.path.isfile(path)
    if path.suffix.lower() != ".npy" or not os.path.isfile(path):
        return False
    try:
        return len(npy_array(path).shape) == 2
    except GlowkitError:
        return False  # the reader of arrays will say what is wrong


def open_table(name: str, path: Path, choice: Choice) -> TableSource:
    """The rows of a .csv, .tsv, .parquet or 2-D .npy file; 80/10/10 by a fixed permutation.

    Raises GlowkitError for a file that is no table, too few rows, columns that are not there, and,
    all in one sentence, columns of text, dates or truth values' lists, those with missing values,
    and those that do not vary over the training rows.
    """
    names, table = read_table(path, choice)
    columns, given = choice.of(str(path), names)
    count = len(table)
    if count < FEWEST_ROWS:
        raise GlowkitError(
            f"{path} is a table of {count} rows, and at least {FEWEST_ROWS} are needed to train,"
            " validate and test on"
        )
    order = [names.index(column) for column in [*columns, *given]]
    parts = {split: table[rows][:, order] for split, rows in divide(count, str(path)).items()}
    return build_table(name, parts, columns, given)


def build_table(
    name: str, parts: dict[str, np.ndarray], columns: Sequence[str], given: Sequence[str] = ()
) -> TableSource:
    """A source of three splits, float64 (N, D + C), the columns of the context last.

    Raises GlowkitError, naming all columns that cannot be used.
    """
    named = [*columns, *given]
    refuse(name, column_faults(parts["train"], named, [*parts.values()]))
    size = len(columns)
    splits = {}
    for split in SPLITS:
        rows = torch.from_numpy(parts[split].astype(np.float32))
        context = rows[:, size:].contiguous() if given else None
        splits[split] = TableSplit(rows[:, :size].contiguous(), context, named)
    notes = notes_on(parts["train"][:, :size], columns)
    return TableSource(name, splits, tuple(columns), tuple(given), notes)


def read_context(path: Path, choice: Choice) -> np.ndarray:
    """The columns of a context alone, (N, C) float64, which may be the same in every row.

    Raises GlowkitError as `read_table` does.
    """
    return read_table(path, choice, varied=False)[1]


def read_table(
    path: Path, choice: Choice | None = None, varied: bool = True
) -> tuple[list[str], np.ndarray]:
    """Names of columns and their numbers, (N, columns) float64; those alone that `choice` wants.

    varied: whether a column that has one value is refused.

    Raises GlowkitError for what cannot be read, and, all in one sentence, for columns that are not
    of numbers or have missing values.
    """
    if path.suffix.lower() == ".npy":
        names, columns = _of_array(path)
    else:
        names, columns = _of_arrow(path, choice)
    faults: dict[str, list[str]] = {}
    for name, values in zip(names, columns, strict=True):
        if isinstance(values, str):
            faults.setdefault(values, []).append(name)
        elif missing := int((~np.isfinite(values)).sum()):
            faults.setdefault(f"missing or infinite values: {missing:,}", []).append(name)
        elif varied and (values == values[0]).all():
            faults.setdefault("one value in every row", []).append(name)
    refuse(str(path), faults)
    return names, np.stack([values for values in columns if not isinstance(values, str)], axis=1)


def _of_array(path: Path) -> tuple[list[str], Sequence[np.ndarray | str]]:
    array = npy_array(path)
    if len(array.shape) != 2 or array.kind not in "iufb" or 0 in array.shape:
        raise GlowkitError(
            f"{path} has shape {array.shape} of {array.type}: a table is (rows, columns) of numbers"
        )
    order = "F" if array.fortran_order else "C"
    with sentences(str(path), ".npy"):
        whole = np.memmap(path, array.type, "r", array.offset, array.shape, order=order)  # type: ignore[call-overload]
        return [f"x{i}" for i in range(array.shape[1])], whole.astype(np.float64).T


def _of_arrow(path: Path, choice: Choice | None) -> tuple[list[str], list[np.ndarray | str]]:
    """Columns as numbers, or the word for what they are instead."""
    found = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    names = found.column_names
    every = choice is None or choice.only is None
    if every and any(_is_nameless(name) for name in names):
        raise GlowkitError(
            f"{path} has a column without a name, such as a row index; name or remove it"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GlowkitError(f"{path} has several columns called {listed(twice)}; rename them")
    if found.num_rows == 0 or not names:
        raise GlowkitError(f"{path} has no rows; a table is a line of names and rows of numbers")
    if choice is not None and choice.only is not None:
        _check_there(str(path), names, [*choice.only[0], *choice.only[1]])
        found = found.select([*choice.only[0], *choice.only[1]])
    return found.column_names, [_numbers(column) for column in found.columns]


def _numbers(column: "pyarrow.ChunkedArray") -> "np.ndarray | str":
    import pyarrow

    kind = column.type
    types = pyarrow.types
    if types.is_null(kind):
        return "no value at all"
    if types.is_boolean(kind):
        column = column.cast(pyarrow.int8())
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        return "text" if types.is_string(kind) or types.is_large_string(kind) else str(kind)
    # Not safe: whole numbers beyond 2^53 are rounded. A missing value is NaN.
    numbers = column.cast(pyarrow.float64(), safe=False).to_numpy()
    return np.asarray(numbers, dtype=np.float64)


def _csv(path: Path) -> "pyarrow.Table":
    import pyarrow
    from pyarrow import csv

    with sentences(str(path), path.suffix):
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline(1_000_000)
        if not first.strip():
            raise ValueError("it is empty")
        delimiter = max(DELIMITERS, key=first.count)
        found = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter))
        if found.num_columns == 1:
            # There a blank line is a missing value, but for those that end the file.
            values = pyarrow.BufferReader(path.read_bytes().rstrip(b"\r\n") + b"\n")
            blank = csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=False)
            found = csv.read_csv(values, parse_options=blank)
    if all(is_number(name) for name in found.column_names):
        raise GlowkitError(
            f"the first line of {path} holds numbers, where the names of columns should be; add a"
            " line of names above it"
        )
    return found


def _parquet(path: Path) -> "pyarrow.Table":
    from pyarrow import parquet

    with sentences(str(path), ".parquet"):
        return parquet.ParquetFile(path).read()


def _is_nameless(name: str) -> bool:
    # The latter is what pandas writes into a .parquet for an index without a name.
    return not name.strip() or re.fullmatch(r"__index_level_\d+__", name) is not None
