"""Arrays in .npy and .npz files."""

import numpy as np
import pytest
import torch

from glowkit.data import open_source
from glowkit.system.errors import GlowkitError

RANDOM = np.random.default_rng(0)


def whole_numbers(shape, dtype=np.uint8, high=256):
    return RANDOM.integers(0, high, shape).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "image_shape", "to_rows"),
    [
        ((12, 5, 7), (1, 5, 7), lambda a: a[:, None]),
        ((12, 5, 7, 3), (3, 5, 7), lambda a: a.transpose(0, 3, 1, 2)),
        ((12, 3, 5, 7), (3, 5, 7), lambda a: a),
        ((12, 4, 5, 7), (4, 5, 7), lambda a: a),
        ((12, 5, 7, 1), (1, 5, 7), lambda a: a.transpose(0, 3, 1, 2)),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_layouts(tmp_path, shape, image_shape, to_rows, suffix):
    array = whole_numbers(shape)
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, array)
    else:
        np.savez_compressed(path, whatever=array)
    source = open_source(str(path))
    assert source.image_shape == image_shape
    assert source.pixel_levels == 256
    assert source.class_names == source.notes == ()
    assert {name: len(split) for name, split in source.splits.items()} == {
        "train": 10,
        "validation": 1,
        "test": 1,
    }
    test = source.splits["test"]
    assert isinstance(test.images, np.memmap)
    assert (test[0][0].numpy() == to_rows(array)[test.indices[0]]).all()


@pytest.mark.parametrize(
    ("array", "levels"),
    [
        (whole_numbers((3, 5, 6), np.uint16, 65536), 65536),
        (whole_numbers((3, 5, 6), ">u2", 65536), 65536),
        (whole_numbers((3, 5, 6), np.int64, 256), 256),
        (np.full((3, 5, 6), 256, np.int32), 65536),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_levels_by_type_and_range(tmp_path, array, levels, order, suffix):
    path = tmp_path / f"a.{suffix}"
    ordered = np.asarray(array, order=order)
    if suffix == "npy":
        np.save(path, ordered)
    else:
        np.savez(path, ordered)
    source = open_source(str(path))
    assert source.pixel_levels == levels
    train = source.splits["train"]
    image, label = train[0]
    assert image.dtype == (torch.uint8 if levels == 256 else torch.int32)
    assert image[0].tolist() == array[train.indices[0]].tolist()
    assert label == -1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_to_256_levels(tmp_path, dtype):
    array = np.linspace(0, 1, 3 * 25).reshape(3, 5, 5).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    source = open_source(str(tmp_path / "a.npy"))
    assert source.pixel_levels == 256
    expected = np.rint(255 * array.astype(np.float64))
    assert (source.splits["train"].images[:, 0] == expected).all()
    assert "rounded to 256 levels" in source.notes[0]


def test_many_blocks(tmp_path, monkeypatch):
    from glowkit.data import arrays as members

    monkeypatch.setattr(members, "BLOCK_BYTES", 100)
    array = whole_numbers((50, 6, 6), np.int16)
    np.savez_compressed(tmp_path / "a.npz", array)
    assert (open_source(str(tmp_path / "a.npz")).splits["train"].images[:, 0] == array).all()


@pytest.mark.parametrize("key", ["labels", "y"])
def test_labels(tmp_path, key):
    images = np.arange(10, dtype=np.uint8)[:, None, None].repeat(6, 1).repeat(6, 2)
    labels = np.arange(10, dtype=np.int32) % 3
    np.savez(tmp_path / "a.npz", images=images, **{key: labels})
    source = open_source(str(tmp_path / "a.npz"))
    assert source.class_names == ("0", "1", "2")
    pixels, found = source.splits["train"].__getitems__(slice(None))
    assert (pixels[:, 0, 0, 0] % 3 == found).all()
    assert found.dtype == torch.int64


def test_one_of_several_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", one=whole_numbers((5, 6, 6)), two=whole_numbers((9, 8, 8)))
    source = open_source(f"{tmp_path}/a.npz:two")
    assert source.image_shape == (1, 8, 8)
    assert source.name == f"{tmp_path}/a.npz:two"


def test_a_changed_npz_is_read_again(tmp_path):
    np.savez(tmp_path / "a.npz", whole_numbers((5, 6, 6)))
    open_source(str(tmp_path / "a.npz"))
    np.savez(tmp_path / "a.npz", whole_numbers((9, 6, 6)))
    assert len(open_source(str(tmp_path / "a.npz")).splits["train"].images) == 9


def test_channels_settle_an_ambiguous_shape(tmp_path):
    np.save(tmp_path / "a.npy", whole_numbers((5, 1, 2, 3)))
    assert open_source(str(tmp_path / "a.npy"), channels=1).image_shape == (1, 2, 3)
    assert open_source(str(tmp_path / "a.npy"), channels=3).image_shape == (3, 1, 2)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (whole_numbers((5, 1, 2, 3)), ["axis 1 or the last", "--channels"]),
        (whole_numbers((32, 32, 3)), ["single image"]),
        (whole_numbers((5, 7, 7, 2)), ["1, 3 or 4"]),
        (whole_numbers((7,)), ["(7,)", "(N, H, W)"]),
        (whole_numbers((5, 0, 7)), ["length 0"]),
        (whole_numbers((2, 7, 7)), ["only 2 image"]),
        (np.full((5, 7, 7), 1.5), ["floats from 1.5 to 1.5", "0..1"]),
        (np.linspace(-1, 1, 125).reshape(5, 5, 5), ["floats from -1 to 1"]),
        (np.full((5, 7, 7), np.nan), ["NaN"]),
        (np.full((5, 7, 7), np.inf), ["floats from inf to inf"]),
        (np.full((5, 7, 7), -1), ["from -1 to -1", "0..255"]),
        (np.full((5, 7, 7), 70000), ["70000", "0..65535"]),
        (np.full((5, 7, 7), True), ["bool"]),
        (np.full((5, 7, 7), "x"), ["str"]),
        (np.full((5, 7, 7), None), ["pickled"]),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_refused_arrays(tmp_path, array, words, suffix, cache):
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, array, allow_pickle=True)
    else:
        np.savez(path, images=array)
    refused(str(path), [path.name, *words])
    assert not cache.exists() or list(cache.iterdir()) == []


IMAGES = whole_numbers((5, 6, 6))


@pytest.mark.parametrize(
    ("arrays", "member", "words"),
    [
        ({}, "", ["no array of images", "nothing"]),
        ({"labels": np.arange(5), "z": np.eye(3)}, "", ["labels (5,)", "z (3, 3)"]),
        ({"a": IMAGES, "b": IMAGES}, "", ["a (5, 6, 6), b (5, 6, 6)", "a.npz:a"]),
        ({"a": IMAGES, "b": IMAGES}, ":c", ["no array c", "a (5, 6, 6)"]),
        ({"a": IMAGES, "labels": np.arange(4)}, "", ["4 labels", "5 images"]),
        ({"a": IMAGES, "labels": np.arange(5) - 1}, "", ["from -1 to 3"]),
        ({"a": IMAGES, "labels": np.arange(5) * 10**6}, "", ["to 4000000"]),
        ({"a": IMAGES, "labels": np.linspace(0, 1, 5)}, "", ["float64", "whole numbers"]),
        ({"a": IMAGES, "y": np.zeros((5, 10), int)}, "", ["(5, 10)"]),
        ({"a": IMAGES, "labels": np.arange(5), "y": np.arange(5)}, "", ["both labels and y"]),
    ],
)
def test_refused_npz(tmp_path, arrays, member, words):
    np.savez(tmp_path / "a.npz", **arrays)
    refused(f"{tmp_path}/a.npz{member}", ["a.npz", *words])


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("kept", [0, 4, 60, 0.5, 0.9])
def test_truncated(tmp_path, suffix, kept):
    path = tmp_path / f"a.{suffix}"
    (np.save if suffix == "npy" else np.savez_compressed)(path, whole_numbers((50, 16, 16)))
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    refused(str(path), [path.name, "truncated"])


def test_damaged_within_an_npz(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, whole_numbers((50, 16, 16)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused(str(path), ["a.npz", "CRC"])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"size": 8}, ["6x6", "8x8", "--size"]),
        ({"channels": 3}, ["1 channel", "--channels"]),
    ],
)
def test_arrays_are_not_resized(tmp_path, how, words):
    np.save(tmp_path / "a.npy", IMAGES)
    refused(str(tmp_path / "a.npy"), ["a.npy", *words], **how)


def refused(spec, words, **how):
    with pytest.raises(GlowkitError) as error:
        open_source(spec, **how)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)
