"""Which images of a folder train, validate and test."""

import pytest

from glowkit.data import open_source
from glowkit.system.errors import GlowkitError


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_split_folders_are_the_splits(folder, save, validation):
    for split, count in (("train", 5), (validation, 2), ("test", 3)):
        for k in range(count):
            save(f"{split}/{'ab'[k % 2]}/{k}.png")
    source = open_source(str(folder))
    assert {name: len(split) for name, split in source.splits.items()} == {
        "train": 5,
        "validation": 2,
        "test": 3,
    }
    assert source.class_names == ("a", "b")
    assert sorted(source.splits["test"].indices) == [0, 1, 2]  # sorted: test, train, val


@pytest.mark.parametrize("present", [["train"], ["train", "test"], ["train", "val"]])
def test_missing_splits_are_taken_from_train(folder, save, present):
    for split in present:
        for k in range(20):
            save(f"{split}/{k}.png")
    source = open_source(str(folder))
    rows = [set(source.splits[split].indices.tolist()) for split in source.splits]
    assert sum(map(len, rows)) == len(set.union(*rows)) == 20 * len(present)
    assert len(rows[0]) == {1: 16, 2: 18}[len(present)]


def test_unlabelled_test_folder(folder, save):
    for k in range(5):
        save(f"train/a/{k}.png")
        save(f"test/{k}.png")
    source = open_source(str(folder))
    assert source.class_names == ("a",)
    assert source.splits["train"][0][1] == 0
    assert source.splits["test"][0][1] == -1


def test_a_class_called_train(folder, save):
    for k in range(2):
        save(f"train/{k}.png")
        save(f"ship/{k}.png")
    assert open_source(str(folder)).class_names == ("ship", "train")


def test_splits_are_disjoint_and_the_same_every_time(folder, save, cache):
    for k in range(30):
        save(f"{k:02}.png", size=(2, 2))
    first = open_source(str(folder))
    again = open_source(str(folder))
    rows = {name: split.indices.tolist() for name, split in first.splits.items()}
    assert rows == {name: split.indices.tolist() for name, split in again.splits.items()}
    assert {name: len(index) for name, index in rows.items()} == {
        "train": 24,
        "validation": 3,
        "test": 3,
    }
    assert sorted(rows["train"] + rows["validation"] + rows["test"]) == list(range(30))
    # Written down, because a library that changed it would mix test images into training.
    assert rows["test"] == [2, 28, 13]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], ["no image", "images"]),
        (["a.png"], ["only 1 image", "3"]),
        (["a.png", "b.png"], ["only 2 image", "3"]),
        (["test/a.png", "test/b.png", "test/c.png"], ["test", "no train"]),
        (["train/a.png", "test/b.png", "extra/c.png"], ["train", "test", "extra"]),
        (["train/a.png", "val/b.png", "valid/c.png"], ["val, valid", "merge"]),
        (["train/a.png", "test/b.png"], ["only 1 image", "validation"]),
    ],
)
def test_refused_arrangements(folder, save, names, words):
    for name in names:
        save(name)
    with pytest.raises(GlowkitError) as error:
        open_source(str(folder))
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)
