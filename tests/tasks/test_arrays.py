"""Arrays in pieces: what numpy reads is what was appended, and damage is said."""

from pathlib import Path

import numpy as np
import pytest

from glowkit import GlowkitError
from glowkit.tasks.latent import Rows, writing_rows


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_numpy_reads_what_was_written(tmp_path: Path, name: str) -> None:
    wanted = np.arange(70, dtype=np.float32).reshape(7, 2, 5)
    with writing_rows(tmp_path / name, "x", wanted.shape, "float32", {}) as append:
        for start in range(0, 7, 3):
            append(wanted[start : start + 3])
        assert not (tmp_path / name).exists()
    loaded = np.load(tmp_path / name)
    found = loaded if name.endswith("npy") else loaded["x"]
    assert found.dtype == np.float32
    assert np.array_equal(found, wanted)


def test_what_stops_half_way_leaves_nothing(tmp_path: Path) -> None:
    def stop_half_way() -> None:
        with writing_rows(tmp_path / "a.npz", "x", (4,), "uint8", {}) as append:
            append(np.zeros(2, np.uint8))
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stop_half_way()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", ["<f8", ">f8"])
def test_rows_of_numpys_own_files(tmp_path: Path, order: str, save: object, kind: str) -> None:
    wanted = np.asarray(np.random.default_rng(0).normal(size=(7, 3)), kind, order=order)
    save(tmp_path / "a.npz", noises=wanted)  # type: ignore[operator]
    rows = Rows(tmp_path / "a.npz", "noises")
    assert (rows.shape, rows.dtype) == ((7, 3), kind)
    parts = list(rows.batches(2))
    assert all(part.dtype == np.float64 for part in parts)
    assert np.array_equal(np.concatenate(parts), wanted)


def test_bad_files_are_said_in_a_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", labels=np.zeros(3))
    np.savez(tmp_path / "whole.npz", noises=np.zeros((100, 3)))
    (tmp_path / "text.npz").write_text("not a zip")
    (tmp_path / "half.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:1000])
    for name, words in (
        ("none.npz", "no such file"),
        ("other.npz", "no array 'noises', but labels"),
        ("text.npz", "not a .npz file, or damaged"),
        ("half.npz", "not a .npz file, or damaged"),
    ):
        with pytest.raises(GlowkitError, match=words):
            Rows(tmp_path / name, "noises")
