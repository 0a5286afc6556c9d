"""hf:NAME, offline: folders of images as `datasets` reads them."""

import sys

import pytest

from glowkit.data import open_source
from glowkit.system.errors import GlowkitError


def test_without_datasets(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(GlowkitError, match=r"hf:cifar10 .*pip install 'glowkit\[hf\]'"):
        open_source("hf:cifar10")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """`datasets`, kept off the network and the home folder."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    datasets.disable_progress_bars()
    return datasets


pytestmark = pytest.mark.filterwarnings("default")  # what `datasets` warns of is its own affair


def test_local_folder_with_splits(hub, folder, save):
    for k in range(6):
        save(f"train/{'ab'[k % 2]}/{k}.png")
        save(f"test/b/{k}.png")
    source = open_source(f"hf:{folder}")
    assert source.image_shape == (3, 8, 8)
    assert source.class_names == ("a", "b")
    assert {name: len(split) for name, split in source.splits.items()} == {
        "train": 5,
        "validation": 1,
        "test": 6,
    }
    assert source.splits["test"].__getitems__(slice(None))[1].tolist() == [1] * 6


def test_local_folder_without_splits_or_labels(hub, folder, save):
    for k in range(10):
        save(f"{k}.png", "L", (6, 9))
    source = open_source(f"hf:{folder}", size=4)
    assert source.image_shape == (1, 4, 4)
    assert source.class_names == ()
    assert [len(split) for split in source.splits.values()] == [8, 1, 1]


def test_bad_image(hub, folder, save):
    for k in range(5):
        save(f"{k}.png", size=(64, 64))
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:1000])
    with pytest.raises(GlowkitError, match="train, row 2 cannot be read"):
        open_source(f"hf:{folder}")
    source = open_source(f"hf:{folder}", skip_bad=True)
    assert [len(split) for split in source.splits.values()] == [2, 1, 1]


def test_no_images(hub, folder):
    (folder / "a.csv").write_text("x,y\n1,2\n3,4\n5,6\n")
    with pytest.raises(GlowkitError, match="no column of images: it has x, y"):
        open_source(f"hf:{folder}")


def test_parquet_with_encoded_images_and_missing_labels(hub, folder, save):
    files = [str(save(f"{k}.png")) for k in range(4)]
    features = hub.Features({"picture": hub.Image(), "kind": hub.ClassLabel(names=["x", "y"])})
    rows = hub.Dataset.from_dict({"picture": files, "kind": [0, 1, None, 1]}, features=features)
    target = folder.parent / "set"
    target.mkdir()
    rows.to_parquet(target / "train.parquet")
    source = open_source(f"hf:{target}")
    assert source.class_names == ("x", "y")
    assert source.splits["train"].labels.tolist() == [0, 1, -1, 1]


def test_no_network(hub):
    with pytest.raises(GlowkitError, match="hf:nobody/nothing cannot be reached") as error:
        open_source("hf:nobody/nothing")
    assert "\n" not in str(error.value)
