"""Tables: what is read of each kind of file, and what is refused, all of it in one sentence."""

from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet

from glowkit.cli.plan import absolute
from glowkit.data import TableSource, open_source
from glowkit.data.table import Choice, is_table, read_table
from glowkit.system.errors import GlowkitError

ROWS = 50


def numbers() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, 3)) * [1.0, 1e3, 1e-3] + [0.0, 5e4, 0.0]


def csv(path: Path, lines: list[str], names: str = "a,b,c") -> Path:
    path.write_text("\n".join([names, *lines]) + "\n")
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return csv(tmp_path / "good.csv", [",".join(map(repr, row)) for row in numbers().tolist()])


def every_row(source: TableSource) -> torch.Tensor:
    return torch.cat([split.rows for split in source.splits.values()])


def test_the_same_rows_from_every_kind_of_file(good: Path, tmp_path: Path) -> None:
    values = numbers()
    columns = dict(zip("abc", map(pyarrow.array, values.T), strict=True))
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    np.save(tmp_path / "t.npy", values)
    np.save(tmp_path / "f.npy", np.asfortranarray(values))
    csv(tmp_path / "t.tsv", ["\t".join(map(repr, row)) for row in values.tolist()], "a\tb\tc")
    csv(tmp_path / "s.csv", [";".join(map(repr, row)) for row in values.tolist()], "\ufeffa;b;c")
    first = open_source(str(good))
    assert isinstance(first, TableSource)
    assert (first.columns, first.things) == (("a", "b", "c"), "rows")
    assert {name: len(split) for name, split in first.splits.items()} == {
        "train": 40,
        "validation": 5,
        "test": 5,
    }
    wanted = torch.from_numpy(values.astype(np.float32))
    assert torch.equal(every_row(first).sort(0).values, wanted.sort(0).values)
    for name in ("t.parquet", "t.npy", "f.npy", "t.tsv", "s.csv"):
        other = open_source(str(tmp_path / name))
        assert isinstance(other, TableSource)
        assert torch.equal(every_row(other), every_row(first)), name
        assert other.columns == (("x0", "x1", "x2") if ".npy" in name else ("a", "b", "c"))


def test_a_target_and_a_context_choose_columns(good: Path) -> None:
    one = open_source(str(good), target="b")
    other = open_source(str(good), context="a, c")
    for source in (one, other):
        assert isinstance(source, TableSource)
        assert (source.columns, source.context_columns) == (("b",), ("a", "c"))
        rows, context = source.splits["test"].__getitems__([0, 1])
        assert context is not None
        assert (rows.shape, context.shape) == ((2, 1), (2, 2))
    again = open_source(str(good), only=(("c",), ("b",)))
    assert isinstance(again, TableSource)
    assert (again.columns, again.context_columns) == (("c",), ("b",))


def test_a_column_may_have_a_comma_in_its_name(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", [f"{i},{i * i}" for i in range(30)], '"a, in m",b')
    source = open_source(str(path), target="a, in m")
    assert isinstance(source, TableSource)
    assert (source.columns, source.context_columns) == (("a, in m",), ("b",))


def test_all_columns_that_cannot_be_used_are_named_in_one_sentence(tmp_path: Path) -> None:
    lines = [
        f"{i}.5,word{i},{'' if i in (3, 4) else i},7,2026-01-{i % 28 + 1:02},"
        + ("inf" if i == 5 else f"{i}")
        for i in range(40)
    ]
    path = csv(tmp_path / "t.csv", lines, "fine,name,gap,same,day,far")
    with pytest.raises(GlowkitError) as refused:
        open_source(str(path))
    said = str(refused.value)
    assert "\n" not in said
    for words in ("name (text)", "gap (missing or infinite values: 2)", "same (one value"):
        assert words in said
    assert "day (date32" in said
    assert "far (missing or infinite values: 1)" in said
    assert "fine" not in said


def test_a_column_that_varies_only_in_the_test_rows_is_refused(tmp_path: Path) -> None:
    values = numbers()
    np.save(tmp_path / "t.npy", values)
    source = open_source(str(tmp_path / "t.npy"))
    assert isinstance(source, TableSource)
    held = source.splits["test"].rows[0, 0]
    values[:, 2] = (values[:, 0].astype(np.float32) == held.item()).astype(float)
    np.save(tmp_path / "t.npy", values)
    with pytest.raises(GlowkitError, match=r"x2 \(one value in every training row\)"):
        open_source(str(tmp_path / "t.npy"))


BAD = {
    "no header": (["1.0,2.0,3.0"] * 30, "1.0,2.0,3.5", "names of columns should be"),
    "the same name twice": (["1,2,3"] * 30, "a,b,a", "several columns called a"),
    "no rows": ([], "a,b,c", "no rows"),
    "few rows": ([f"{i},{i * i}" for i in range(19)], "a,b", "at least 20"),
    "a ragged line": (["1,2,3", "1,2"], "a,b,c", "not a .csv file, or damaged"),
    "empty": (None, "", "it is empty"),
    "beyond float32": ([f"{10**9 + i % 7}.{i}" for i in range(30)], "t", "subtract a constant"),
    "huge": ([f"{i}e31" for i in range(30)], "t", "values beyond 1e30"),
    "tiny": ([f"{i}e-60" for i in range(30)], "t", "below 1e-30, multiply by a constant"),
    "a missing value alone in its line": (
        [str(i) if i != 7 else "" for i in range(30)],
        "t",
        r"t \(missing or infinite values: 1\)",
    ),
    "a line of spaces": (["1,2"] * 9 + ["  "] + ["3,4"] * 20, "a,b", "Expected 2 columns"),
    "a row index": ([f"{i},{i % 7}.5" for i in range(30)], ",a", "a column without a name"),
    "ids close by": ([str(2**54 + 1 + 4 * i) for i in range(30)], "t", "subtract a constant"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_table_is_refused(tmp_path: Path, case: str) -> None:
    lines, names, words = BAD[case]
    path = tmp_path / "t.csv"
    if lines is None:
        path.write_text("")
    else:
        csv(path, lines, names)
    with pytest.raises(GlowkitError, match=words) as refused:
        open_source(str(path))
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"target": "d"}, "has no column d; it has a, b, c"),
        ({"context": "a,b,c"}, "no column besides a, b, c"),
        ({"context": "a,a"}, "named twice"),
        ({"target": "a", "context": "b"}, "leave one of them out"),
        ({"only": (("a", "z"), ())}, "no column z"),
        ({"size": 8}, "--size"),
        ({"skip_bad": True}, "--skip-bad"),
    ],
    ids=str,
)
def test_a_choice_that_cannot_be_is_refused(good: Path, choice: dict, words: str) -> None:
    with pytest.raises(GlowkitError, match=words):
        open_source(str(good), **choice)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_value_that_float32_does_not_hold_is_refused_in_any_split(
    tmp_path: Path, split: str
) -> None:
    values = numbers()
    np.save(tmp_path / "t.npy", values)
    source = open_source(str(tmp_path / "t.npy"))
    assert isinstance(source, TableSource)
    held = source.splits[split].rows[0, 0].item()
    values[values[:, 0].astype(np.float32) == held, 1] = 1e300
    np.save(tmp_path / "t.npy", values)
    with pytest.raises(GlowkitError, match=r": x1 \(values beyond 1e30\);"):
        open_source(str(tmp_path / "t.npy"))


def test_whole_numbers_of_64_bits_are_read(tmp_path: Path) -> None:
    ids = [2**53 + 1 + i * 2**50 for i in range(30)]
    path = csv(tmp_path / "t.csv", [f"{i},{i % 7}" for i in ids], "id,b")
    assert read_table(path)[1][:, 0].tolist() == [float(i) for i in ids]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("names", ["a", "a,b"])
def test_blank_lines_at_the_end_are_no_rows(tmp_path: Path, names: str, end: str) -> None:
    path = tmp_path / "t.csv"
    rows = [",".join(str(i + j) for j in range(len(names.split(",")))) for i in range(30)]
    path.write_bytes(end.join([names, *rows, "", "", ""]).encode())
    assert read_table(path)[1].shape[0] == 30


def test_the_row_index_of_pandas_is_no_column(tmp_path: Path, good: Path) -> None:
    columns = {"a": numbers()[:, 0], "__index_level_0__": np.arange(ROWS)}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    with pytest.raises(GlowkitError, match="such as a row index; name or remove it"):
        open_source(str(tmp_path / "t.parquet"))
    only = open_source(str(tmp_path / "t.parquet"), only=(("a",), ()))
    assert isinstance(only, TableSource)
    assert only.columns == ("a",)


def test_a_folder_may_be_called_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table").mkdir()
    assert not is_table("table")
    assert is_table("table:POWER")
    assert absolute("table") == str(tmp_path.resolve() / "table")
    with pytest.raises(GlowkitError, match="image"):
        open_source("table")


def test_what_has_no_columns_takes_no_target() -> None:
    with pytest.raises(GlowkitError, match="no columns"):
        open_source("points:moons", target="a")
    with pytest.raises(GlowkitError, match="no columns"):
        open_source("digits", context="a")


def test_many_equal_values_are_noted(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = np.stack([random.normal(size=200), random.integers(0, 4, 200)], axis=1)
    np.save(tmp_path / "t.npy", values)
    (note,) = open_source(str(tmp_path / "t.npy")).notes
    assert "x1 (" in note
    assert "x0" not in note
    assert "add noise" in note


def test_truth_values_are_numbers_and_a_missing_file_is_no_table(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", [f"{i % 3 == 0},{i}" for i in range(30)], "a,b")
    names, table = read_table(path)
    assert names == ["a", "b"]
    assert sorted(set(table[:, 0].tolist())) == [0.0, 1.0]
    assert not is_table(str(tmp_path / "none.csv"))
    with pytest.raises(GlowkitError, match="no such file"):
        open_source(str(tmp_path / "none.csv"))


def test_images_in_an_array_are_no_table(tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", np.zeros((30, 4, 4), np.uint8))
    np.save(tmp_path / "t.npy", np.zeros((30, 4), np.complex64))
    assert not is_table(str(tmp_path / "i.npy"))
    with pytest.raises(GlowkitError, match="of numbers"):
        open_source(str(tmp_path / "t.npy"))
    assert Choice().of("t", ["a"]) == (["a"], [])
