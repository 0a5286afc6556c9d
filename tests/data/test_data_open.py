"""Bundled sets, IDX files, what is refused, splits as datasets, requantization."""

import gzip
import pickle
import struct

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from glowkit.data import ImageSplit, list_sources, open_source, requantize
from glowkit.data.fashion import DEBIAN_FOLDER
from glowkit.system.errors import GlowkitError


def test_digits():
    source = open_source("digits")
    assert source.image_shape == (1, 8, 8)
    assert source.pixel_levels == 17
    assert source.class_names == tuple("0123456789")
    assert {name: len(split) for name, split in source.splits.items()} == {
        "train": 1297,
        "validation": 200,
        "test": 300,
    }
    rows = np.concatenate([split.indices for split in source.splits.values()])
    assert sorted(rows) == list(range(1797))
    # Written down: figures reported for one version must hold for the next.
    assert source.splits["test"].indices[:4].tolist() == [847, 1029, 326, 520]
    images, labels = source.splits["train"].__getitems__(slice(None))
    assert images.dtype == torch.uint8
    assert (images.min(), images.max()) == (0, 16)
    assert (labels.bincount() > 100).all()


@pytest.fixture
def idx(tmp_path):
    """A folder like that of Fashion-MNIST with 12 + 4 images of 3x2."""

    def write(name, array, compress=False):
        header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
        data = header + array.astype(np.uint8).tobytes()
        path = tmp_path / (name + (".gz" if compress else ""))
        path.write_bytes(gzip.compress(data) if compress else data)

    for part, count, compress in (("train", 12, True), ("t10k", 4, False)):
        pixels = np.arange(count * 6).reshape(count, 3, 2)
        write(f"{part}-images-idx3-ubyte", pixels, compress)
        write(f"{part}-labels-idx1-ubyte", np.arange(count) % 10, not compress)
    return tmp_path


def test_idx_folder(idx):
    source = open_source(f"fashion-mnist:{idx}")
    assert source.name == f"fashion-mnist:{idx}"
    assert source.image_shape == (1, 3, 2)
    assert len(source.class_names) == 10
    assert [len(split) for split in source.splits.values()] == [6, 6, 4]
    image, label = source.splits["validation"][0]
    assert image.flatten().tolist() == list(range(36, 42))
    assert label == 6


@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="dataset-fashion-mnist not installed")
def test_fashion_mnist():
    source = open_source("fashion-mnist")
    assert source.image_shape == (1, 28, 28)
    assert [len(split) for split in source.splits.values()] == [55000, 5000, 10000]
    assert source.splits["test"][0][1] == 9  # an ankle boot


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def cut_gzip(path):
    path.write_bytes(path.read_bytes()[:-12])


def extend(path):
    path.write_bytes(path.read_bytes() + b"x")


def overwrite(path):
    path.write_bytes(b"nothing of the kind")


def cut_header(path):
    path.write_bytes(path.read_bytes()[:6])


def remove(path):
    path.unlink()


def relabel(path):
    path.write_bytes(path.read_bytes()[:-1] + b"\x0a")


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("t10k-images-idx3-ubyte", cut, ["truncated", "24 bytes", "23"]),
        ("t10k-images-idx3-ubyte", extend, ["too long"]),
        ("t10k-images-idx3-ubyte", overwrite, ["not an IDX file"]),
        ("t10k-images-idx3-ubyte", cut_header, ["header"]),
        ("train-images-idx3-ubyte.gz", cut_gzip, ["truncated"]),
        ("train-labels-idx1-ubyte", cut, ["truncated"]),
        ("train-labels-idx1-ubyte", relabel, ["label 10", "0 to 9"]),
        ("train-labels-idx1-ubyte", remove, ["dataset-fashion-mnist", "fashion-mnist:FOLDER"]),
    ],
)
def test_damaged_idx(idx, file, damage, words):
    damage(idx / file)
    refused(f"fashion-mnist:{idx}", [file.removesuffix(".gz"), *words])


def test_idx_files_that_do_not_fit(idx):
    (idx / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">I3I", 0x803, 3, 3, 2) + bytes(18))
    refused(f"fashion-mnist:{idx}", ["(3, 3, 2)", "(4,)"])


@pytest.mark.parametrize(
    ("spec", "how", "words"),
    [
        ("nowhere", {}, ["no such file or folder: nowhere", "digits", "hf:NAME"]),
        ("nowhere.npy", {}, ["no such file or folder: nowhere.npy"]),
        ("nowhere.npz:a", {}, ["no such file or folder"]),
        ("", {}, ["DATA is"]),
        ("x" * 5000, {}, ["no such file or folder"]),
        ("hf:", {}, ["hf:NAME"]),
        (__file__, {}, ["unknown kind", "test_data_open.py"]),
        ("digits", {"size": 16}, ["8x8", "16x16"]),
        ("digits", {"channels": 3}, ["digits", "1 channel"]),
        ("digits", {"channels": 2}, ["1, 3 or 4"]),
        ("digits", {"size": 0}, ["size 0"]),
        ("fashion-mnist:/nowhere", {}, ["/nowhere", "dataset-fashion-mnist"]),
    ],
)
def test_refused_requests(spec, how, words):
    refused(spec, words, **how)


def test_a_single_image_file(save):
    refused(str(save("a.png")), ["a.png", "one file"])


def refused(spec, words, **how):
    with pytest.raises(GlowkitError) as error:
        open_source(spec, **how)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


def test_list_of_sources_names_every_kind():
    assert [row.spec for row in list_sources()] == [
        "digits",
        "points:NAME",
        "fashion-mnist[:FOLDER]",
        "emoji[:FONT]",
        "FOLDER",
        "FILE.npy, FILE.npz[:NAME]",
        "hf:NAME",
        "FILE.csv, FILE.parquet, FILE.npy",
        "table:NAME[:FOLDER]",
    ]


@pytest.mark.parametrize("indices", [[3, 1], slice(1, 3), np.array([0]), torch.tensor([2, 2]), []])
def test_batches_equal_single_items(indices):
    source = open_source("digits").splits["validation"]
    images, labels = source.__getitems__(indices)
    single = [source[k] for k in np.arange(len(source))[indices]]
    assert images.shape == (len(single), 1, 8, 8)
    assert labels.tolist() == [label for _, label in single]
    assert all(torch.equal(a, b) for a, (b, _) in zip(images, single, strict=True))


def test_writing_to_a_batch_leaves_the_data_alone(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((5, 6, 6), np.uint8))
    split = open_source(str(tmp_path / "a.npy")).splits["train"]
    split[0][0].zero_()
    split.__getitems__(slice(None))[0].zero_()
    assert split.images.min() == 1


def test_pickle_of_a_mapped_split_is_small_and_equal(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (40, 20, 20, 3)).astype(np.uint8)
    np.save(tmp_path / "a.npy", array)
    split = open_source(str(tmp_path / "a.npy")).splits["train"]
    split = ImageSplit(split.images[5:, :, 2:], None, np.arange(30))
    data = pickle.dumps(split)
    assert len(data) < 2000
    copy = pickle.loads(data)
    assert torch.equal(copy.__getitems__(slice(None))[0], split.__getitems__(slice(None))[0])


def test_data_loader_takes_whole_batches():
    split = open_source("digits").splits["test"]
    loader = DataLoader(split, batch_size=128, collate_fn=lambda batch: batch)
    assert [tuple(images.shape) for images, _ in loader] == [
        (128, 1, 8, 8),
        (128, 1, 8, 8),
        (44, 1, 8, 8),
    ]


@pytest.mark.parametrize(("from_levels", "to_levels"), [(256, 32), (256, 2), (65536, 256)])
def test_requantize_is_the_floor_of_the_ratio(from_levels, to_levels):
    dtype = torch.uint8 if from_levels == 256 else torch.int32
    images = torch.arange(from_levels).to(dtype)
    expected = [x * to_levels // from_levels for x in range(from_levels)]
    found = requantize(images, from_levels, to_levels)
    assert found.dtype == torch.uint8
    assert found.tolist() == expected
    assert images.tolist() == list(range(from_levels))


def test_requantize_to_equal_levels_is_nothing():
    images = torch.arange(17)
    assert requantize(images, 17, 17) is images


@pytest.mark.parametrize(("from_levels", "to_levels"), [(32, 256), (256, 48), (17, 16), (256, 1)])
def test_requantize_refuses(from_levels, to_levels):
    with pytest.raises(GlowkitError, match=f"{from_levels} levels .* to {to_levels}"):
        requantize(torch.zeros(1, dtype=torch.uint8), from_levels, to_levels)


def test_requantize_refuses_fractions():
    with pytest.raises(GlowkitError, match="float32"):
        requantize(torch.zeros(1), 256, 32)
