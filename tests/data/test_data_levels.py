"""How many levels an array has: by its file, its model, or its values, and always in words."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from glowkit import GlowConfig, GlowkitError
from glowkit.data import open_source
from glowkit.training import preparation

RANDOM = np.random.default_rng(0)


def whole(high: int, dtype: str = "u1", low: int = 0) -> np.ndarray:
    """20 images of which one at least has the value `high`."""
    array = RANDOM.integers(low, high + 1, (20, 6, 6))
    array[7, 3, 3] = high
    return array.astype(dtype)


def opened(path: Path, array: np.ndarray, levels: int | None = None):
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        np.savez(path, images=array)
    return open_source(str(path), levels=levels)


def pixels(source, levels: int) -> torch.Tensor:
    """All training images as a model of these levels has them."""
    config = GlowConfig((1, 6, 6), levels=1, steps=1, width=4, pixel_levels=levels)
    return preparation(source, config)(source.splits["train"].__getitems__(slice(None)))[0]


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", ">u2", "i2", ">i4", "i8", "u8"])
@pytest.mark.parametrize(
    ("high", "wanted", "levels", "said"),
    [
        (0, None, 2, "values 0 to 0 are read as 2 levels"),
        (1, None, 2, "values 0 to 1 are read as 2 levels"),
        (1, 2, 2, "values 0 to 1 are read as 2 levels"),
        (1, 17, 17, "values 0 to 1 are read as 17 levels"),
        (16, None, 17, "values 0 to 16 are read as 17 levels"),
        (15, 17, 17, "values 0 to 15 are read as 17 levels"),
        (31, None, 32, "values 0 to 31 are read as 32 levels"),
        (63, 64, 64, "values 0 to 63 are read as 64 levels"),
    ],
)
def test_few_values_are_levels_of_their_own(
    tmp_path: Path, suffix: str, dtype: str, high: int, wanted: int, levels: int, said: str
) -> None:
    array = whole(high, dtype)
    source = opened(tmp_path / f"a.{suffix}", array, wanted)
    assert (source.pixel_levels, source.notes) == (levels, (said,))
    own = pixels(source, levels)
    assert own.numpy().tolist() == array[source.splits["train"].indices][:, None].tolist()


@pytest.mark.parametrize(
    ("high", "dtype", "wanted", "levels"),
    [
        (32, "u1", None, 256),
        (255, "u1", 256, 256),
        (255, "u1", 65536, 256),
        (200, "u2", None, 256),
        (200, "u2", 65536, 65536),
        (256, "u2", None, 65536),
        (4095, "u2", 4096, 4096),
        (4095, "u2", None, 65536),
        (4095, "i4", 4096, 4096),
        (65535, "u2", 65536, 65536),
    ],
)
def test_other_whole_numbers(
    tmp_path: Path, high: int, dtype: str, wanted: int | None, levels: int
) -> None:
    source = opened(tmp_path / "a.npy", whole(high, dtype), wanted)
    assert source.pixel_levels == levels
    plain = levels == (256 if dtype == "u1" else 65536)
    assert source.notes == (() if plain else (f"values 0 to {high} are read as {levels} levels",))


def test_an_archive_may_say_its_levels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=whole(9), levels=17)
    source = open_source(str(tmp_path / "a.npz"))
    assert (source.pixel_levels, source.notes) == (17, ())


@pytest.mark.parametrize(
    ("levels", "words"), [(5, "up to 9"), (1, "2 to 65536"), (2.5, "2 to 65536"), (-3, "2 to")]
)
def test_levels_that_cannot_be(tmp_path: Path, levels: float, words: str) -> None:
    np.savez(tmp_path / "a.npz", images=whole(9), levels=levels)
    with pytest.raises(GlowkitError, match=words):
        open_source(str(tmp_path / "a.npz"))


def test_fewer_levels_than_there_are(tmp_path: Path) -> None:
    array = whole(255)
    floored = opened(tmp_path / "a.npy", array, 32)
    assert floored.notes == ("pixels of 256 levels are reduced to 32, v to floor(v / 8)",)
    rows = floored.splits["train"].indices
    assert (pixels(floored, 32)[:, 0].numpy() == array[rows] // 8).all()
    nearest = opened(tmp_path / "a.npy", array, 17)
    assert nearest.pixel_levels == 17
    assert (pixels(nearest, 17)[:, 0].numpy() == np.rint(array[rows] * (16 / 255))).all()
    deep = opened(tmp_path / "b.npy", whole(65535, "u2"), 17)
    assert deep.pixel_levels == 17
    assert pixels(deep, 17).max() == 16


@pytest.mark.parametrize(
    "array",
    [
        np.where(whole(1) > 0, 100, 40).astype(np.uint8),
        np.where(whole(1) > 0, 100, 40).astype(np.uint8)[:, None],
        np.where(whole(1) > 0, 300, 400).astype(np.uint16),
    ],
)
def test_pixels_that_would_all_become_one_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(GlowkitError, match="and all become level 0 of 1"):
        opened(tmp_path / "a.npy", array, 2)
    source = open_source(str(tmp_path / "a.npy"))
    with pytest.raises(GlowkitError, match="all become level 0 of 1"):
        pixels(source, 2)


def test_floats_that_would_all_become_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GlowkitError, match="all round to the same of 256 levels"):
        opened(tmp_path / "a.npy", RANDOM.random((20, 6, 6)) / 1000)


def test_a_folder_of_zeros_and_ones_is_not_made_black(folder: Path) -> None:
    from PIL import Image

    for k in range(5):
        Image.fromarray(whole(1)[k]).save(folder / f"{k}.png")
    source = open_source(str(folder))
    assert source.notes == ("no value is above 1 of 255, so that all images are nearly black",)
    with pytest.raises(GlowkitError, match="lie from 0 to 1 of 255, and all become level 0 of 1"):
        open_source(str(folder), levels=2)


def test_a_folder_of_1_bit_images_has_two_levels_for_a_model_of_two(folder: Path) -> None:
    from PIL import Image

    arrays = [whole(1)[k] for k in range(5)]
    for k, array in enumerate(arrays):
        Image.fromarray(255 * array).convert("1").save(folder / f"{k}.png")
    source = open_source(str(folder), levels=2)
    rows = source.splits["train"].indices
    assert (pixels(source, 2)[:, 0].numpy() == np.stack(arrays)[rows]).all()
    assert "5 image(s) of 1 bit a pixel read as 0 and 255" in source.notes


def test_idx_files_of_zeros_and_ones(tmp_path: Path) -> None:
    for part in ("train", "t10k"):
        images = whole(1)
        header = struct.pack(">I3I", 0x803, *images.shape)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = struct.pack(">II", 0x801, 20) + bytes(20)
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    source = open_source(f"fashion-mnist:{tmp_path}")
    assert source.pixel_levels == 2
    assert source.notes == ("values 0 to 1 are read as 2 levels",)


def test_a_range_is_read_only_as_far_as_it_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from glowkit.data import arrays

    np.save(tmp_path / "a.npy", whole(255).repeat(50, 0))
    monkeypatch.setattr("glowkit.data.arrays.BLOCK_BYTES", 36)
    read = []
    blocks = arrays.blocks
    monkeypatch.setattr(
        arrays, "blocks", lambda array: (read.append(b) or b for b in blocks(array))
    )
    open_source(str(tmp_path / "a.npy"))
    assert len(read) == 1
