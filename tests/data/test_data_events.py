"""Events from files, by the names of their columns; what is no such file is refused."""

import math
from pathlib import Path

import numpy as np
import pytest

from glowkit import GlowkitError
from glowkit.data.events import read_events

TABLE = np.random.default_rng(0).normal(size=(6, 4))
NAMES = ["m", "a", "b", "label"]
TABLE[:, 3] = [0, 1, 0, 0, 1, 0]


def write_csv(path: Path, head: str = ",".join(NAMES), rows: np.ndarray = TABLE) -> Path:
    lines = [head, *(",".join(f"{value!r}" for value in row.tolist()) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_pandas(path: Path, columns: dict[str, np.ndarray]) -> Path:
    """A file as `DataFrame.to_hdf(path, key="df", format="fixed")` lays one out."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        group = file.create_group("df")
        group.attrs["pandas_type"] = np.bytes_("frame")
        group["axis0"] = np.array(list(columns), dtype="S16")
        kinds = sorted({values.dtype.kind for values in columns.values()})
        for place, kind in enumerate(kinds):
            own = {name: each for name, each in columns.items() if each.dtype.kind == kind}
            group[f"block{place}_items"] = np.array(list(own), dtype="S16")
            group[f"block{place}_values"] = np.stack(list(own.values()), 1)
    return path


def test_a_csv_by_its_names(tmp_path: Path) -> None:
    events = read_events(write_csv(tmp_path / "e.csv"), "m", truth="label")
    assert events.names == ("a", "b")
    assert np.array_equal(events.x.numpy(), TABLE[:, 1:3])
    assert np.array_equal(events.m.numpy(), TABLE[:, 0])
    assert events.truth is not None
    assert events.truth.tolist() == [False, True, False, False, True, False]
    only = read_events(tmp_path / "e.csv", "m", ["b"])
    assert only.names == ("b",)
    assert only.truth is None


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("m,a\n0.5,1\n", encoding="utf-8-sig")
    assert read_events(tmp_path / "e.csv", "m").m.tolist() == [0.5]


def test_a_missing_number_in_a_csv_is_seen(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("m,a\n0.5,\n0.25,1\n")
    assert math.isnan(read_events(tmp_path / "e.csv", "m").x[0, 0])


def test_an_npy_by_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", TABLE.astype(np.float32))
    events = read_events(tmp_path / "e.npy", "0", truth="3")
    assert events.names == ("1", "2")
    assert np.array_equal(events.x.numpy(), TABLE[:, 1:3].astype(np.float32))


def test_h5_files_of_three_kinds(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    columns = {name: TABLE[:, i] for i, name in enumerate(NAMES)}
    columns["label"] = columns["label"].astype(np.int64)
    pandas = read_events(write_pandas(tmp_path / "p.h5", columns), "m", truth="label")
    with h5py.File(tmp_path / "n.h5", "w") as file:
        for name, values in columns.items():
            file[name] = values
    named = read_events(tmp_path / "n.h5", "m", ["a", "b"], "label")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["events"] = TABLE
    array = read_events(tmp_path / "a.h5", "0", ["1", "2"], "3")
    for events in (pandas, named, array):
        assert np.array_equal(events.x.numpy(), TABLE[:, 1:3])
        assert events.truth is not None
        assert events.truth.tolist() == [False, True, False, False, True, False]


def test_what_searches_in_the_lhc_olympics_use(tmp_path: Path) -> None:
    """Two jets back to back, of 1200 GeV each along x: mjj² = 2 (E₁E₂ + p²) + m₁² + m₂²."""
    jets = {
        "pxj1": [1200.0, 1200], "pyj1": [0.0, 0], "pzj1": [0.0, 0], "mj1": [400.0, 100],
        "tau1j1": [0.5, 0.5], "tau2j1": [0.1, 0.1], "tau3j1": [0.0, 0],
        "pxj2": [-1200.0, -1200], "pyj2": [0.0, 0], "pzj2": [0.0, 0], "mj2": [100.0, 400],
        "tau1j2": [0.4, 0.0], "tau2j2": [0.2, 0.0], "tau3j2": [0.0, 0], "label": [1.0, 0],
    }  # fmt: skip
    columns = {name: np.array(values) for name, values in jets.items()}
    events = read_events(write_pandas(tmp_path / "o.h5", columns), "mjj", truth="label")
    assert events.names == ("mj1", "dmj", "tau21j1", "tau21j2")
    e1, e2 = math.hypot(1200, 400), math.hypot(1200, 100)
    assert events.m.tolist() == pytest.approx([(e1 + e2) / 1000] * 2)
    # The lighter jet comes first, in TeV; one of a single particle has no second axis.
    assert events.x[0].tolist() == pytest.approx([0.1, 0.3, 0.5, 0.2])
    assert events.x[1].tolist() == pytest.approx([0.1, 0.3, 0.2, 0.0])


def refused(tmp_path: Path, what: str) -> tuple[Path, str, list[str] | None, str | None]:
    path, mass, features, truth = tmp_path / "e.csv", "m", None, None
    write_csv(path)
    if what == "suffix":
        path = tmp_path / "e.txt"
    elif what == "absent":
        path = tmp_path / "no.csv"
    elif what == "column":
        mass = "mjj"
    elif what == "mass as feature":
        features = ["m", "a"]
    elif what == "truth as feature":
        features, truth = ["a", "label"], "label"
    elif what == "truth as mass":
        truth = "m"
    elif what == "twice":
        features = ["a", "a"]
    elif what == "truth of other values":
        truth = "b"
    elif what == "no header":
        write_csv(path, "1,2,3,4")
    elif what == "equal names":
        write_csv(path, "m,a,a,b")
    elif what == "text":
        path.write_text("m,a\n1,two\n")
    elif what == "other width":
        path.write_text("m,a,b\n1,2\n3,4\n")
    elif what == "names alone":
        path.write_text("m,a,b\n\n")
    elif what == "no features":
        path.write_text("m\n1\n2\n")
    elif what == "flat npy":
        path = tmp_path / "e.npy"
        np.save(path, TABLE[:, 0])
    elif what == "text in npy":
        path, mass = tmp_path / "e.npy", "0"
        np.save(path, np.array([["a", "b"]]))
    elif what == "no h5":
        path = tmp_path / "e.h5"
        path.write_bytes(b"nothing")
    elif what == "images in h5":
        path = tmp_path / "e.h5"
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["a"], file["b"] = TABLE, TABLE[:, 0]
    elif what == "pandas table":
        path = tmp_path / "e.h5"
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["df/table"] = TABLE
    elif what == "unknown compression":
        path = tmp_path / "e.h5"
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:  # 32001 is Blosc's, left to whoever has it
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_chunk((6, 4))
            properties.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)
            space = h5py.h5s.create_simple((6, 4))
            h5py.h5d.create(file.id, b"events", h5py.h5t.NATIVE_DOUBLE, space, properties)
    return path, mass, features, truth


REFUSED = {
    "suffix": r"give a \.csv, \.npy or \.h5",
    "absent": "no such file",
    "column": "no column mjj; its columns are m, a, b, label",
    "mass as feature": "m is the resonant variable and cannot be a feature",
    "truth as feature": "label is the truth and cannot be a feature",
    "truth as mass": "both the resonant variable and the truth",
    "twice": "named twice",
    "truth of other values": "holds other values",
    "no header": "first line .* must name its columns",
    "equal names": "empty or equal",
    "text": "could not convert string",
    "other width": "names 3 columns and has 2",
    "names alone": "has no events below its names",
    "no features": "no column left",
    "flat npy": r"a table of events is \(N, C\)",
    "text in npy": "in place of numbers",
    "no h5": "is not a .h5 file",
    "images in h5": "holds no table",
    "pandas table": "format 'fixed'",
    "unknown compression": "complib='zlib'",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_table_of_events_is_refused(tmp_path: Path, what: str) -> None:
    if what == "no h5":
        pytest.importorskip("h5py")
    with pytest.raises(GlowkitError, match=REFUSED[what]):
        read_events(*refused(tmp_path, what))


def test_without_h5py_the_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "e.h5").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(GlowkitError, match=r"pip install 'glowkit\[h5\]'"):
        read_events(tmp_path / "e.h5", "m")
