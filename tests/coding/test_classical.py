"""Other codecs' sizes are of all pixels; what compares them draws its picture."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import compression
from coding.models import digits
from glowkit.tasks.coding import classical
from glowkit.tasks.coding.classical import classical_bits, codecs, sheet

ROOT = Path(__file__).parents[2]


def test_a_sheet_has_every_image_in_its_place() -> None:
    rows = np.arange(5 * 4 * 6 * 3, dtype=np.uint8).reshape(5, 4, 6, 3)
    whole = sheet(rows)
    assert whole.shape == (8, 18, 3)
    assert np.array_equal(whole[4:, 6:12], rows[4])
    assert np.array_equal(whole[:4, 12:], rows[2])
    assert not whole[4:, 12:].any()


def test_sizes_are_of_files() -> None:
    images, _ = digits(9)
    found = classical_bits(images, 17)
    assert set(found) == set(codecs()) >= {"PNG", "WebP"}
    file = io.BytesIO()
    whole = sheet(images.movedim(1, -1).numpy())[..., 0]
    Image.fromarray(np.ascontiguousarray(whole)).save(file, "PNG", optimize=True)
    assert found["PNG"][1] == 8 * file.tell() / images.numel()
    for each, on_one in found.values():
        assert on_one is not None
        assert 0 < on_one < each


def test_images_that_these_codecs_do_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    assert classical_bits(torch.zeros(2, 2, 4, 4, dtype=torch.uint8), 256) == {}
    assert classical_bits(torch.zeros(2, 1, 4, 4, dtype=torch.int32), 300) == {}
    monkeypatch.setattr(classical, "LARGEST_SIDE", 16)
    images, _ = digits(5)
    assert classical_bits(images, 17)["PNG"][1] is None
    assert classical_bits(torch.zeros(1, 1, 17, 2, dtype=torch.uint8), 17) == {}


@pytest.mark.slow
def test_the_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "compression.png"
    compression.main(str(ROOT / "examples" / "digits"), "digits", "5", str(out))
    with Image.open(out) as drawn:
        assert drawn.size == (800, 450)
    assert "| 5 |" in capsys.readouterr().out
