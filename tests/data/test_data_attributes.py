"""Attributes of images from classes, sub-folders, and tables such as CelebA's."""

from pathlib import Path

import numpy as np
import pytest

from data.conftest import Save
from glowkit.data import attributes_of, open_source
from glowkit.data.labelled import read_labels
from glowkit.system.errors import GlowkitError

COUNT = 20
# What each image of the folder has, by its number.
SMILING = [1 if i % 2 else -1 for i in range(COUNT)]
YOUNG = [1 if i % 3 else -1 for i in range(COUNT)]


@pytest.fixture
def celeba(folder: Path, save: Save) -> Path:
    """A folder as CelebA comes: img_align_celeba/000001.jpg and a list, in both of its forms."""
    for i in range(COUNT):
        save(f"img_align_celeba/{i:06}.jpg", size=(17, 21))
    rows = [(f"{i:06}.jpg", SMILING[i], YOUNG[i]) for i in range(COUNT)]
    csv = ["image_id,Smiling,Young", *(f"{n},{s},{y}" for n, s, y in rows)]
    (folder / "list_attr_celeba.csv").write_text("\n".join(csv) + "\n")
    text = [str(COUNT), "Smiling Young ", *(f"{n} {s:2} {y:2}" for n, s, y in rows)]
    (folder / "list_attr_celeba.txt").write_text("\n".join(text) + "\n")
    return folder


@pytest.mark.parametrize("name", ["list_attr_celeba.csv", "list_attr_celeba.txt"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_celeba(celeba: Path, name: str, split: str) -> None:
    source = open_source(str(celeba), size=16)
    table = attributes_of(source, split, celeba / name)
    assert table.names == ("Smiling", "Young")
    numbers = [int(Path(source.files[row]).stem) for row in source.splits[split].indices]
    assert table.values.tolist() == [[SMILING[i], YOUNG[i]] for i in numbers]


def test_two_folders_are_an_attribute_and_its_opposite(folder: Path, save: Save) -> None:
    for i in range(6):
        save(f"glasses/{i}.png")
        save(f"none/{i}.png")
    source = open_source(str(folder))
    table = attributes_of(source, "train")
    assert table.names == ("glasses", "none")
    for row, values in zip(source.splits["train"].indices, table.values, strict=True):
        has = 1 if source.files[row].startswith("glasses") else -1
        assert values.tolist() == [has, -has]


def test_digits_have_their_classes() -> None:
    source = open_source("digits")
    table = attributes_of(source, "test")
    _, labels = source.splits["test"].__getitems__(slice(None))
    assert table.names == tuple("0123456789")
    assert table.values.argmax(1).tolist() == labels.tolist()
    assert (table.values.sum(1) == 1 - 9).all()


def test_images_that_a_table_does_not_name_are_unknown(celeba: Path) -> None:
    (celeba / "few.csv").write_text("name,Smiling\n000003.jpg,1\nimg_align_celeba/000004.jpg,-1\n")
    source = open_source(str(celeba))
    values = {
        int(Path(source.files[row]).stem): int(value)
        for split in source.splits
        for row, (value,) in zip(
            source.splits[split].indices,
            attributes_of(source, split, celeba / "few.csv").values,
            strict=True,
        )
    }
    assert {i: value for i, value in values.items() if value} == {3: 1, 4: -1}


def test_zero_means_unknown_beside_minus_one_and_lacking_without(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("name,a,b\nx.png,1,0\ny.png,-1,\n")
    names, values = read_labels(table)
    assert names == ("a", "b")
    assert [values[name].tolist() for name in ("x.png", "y.png")] == [[1, 0], [-1, 0]]
    table.write_text("name,a,b\nx.png,1,0\ny.png,0,1\n")
    assert [row.tolist() for row in read_labels(table)[1].values()] == [[1, -1], [-1, 1]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no header"),
        ("image_id\na.png\n", "no header"),
        ("image_id,a,a\nx.png,1,1\n", "different"),
        ("image_id,a\nx.png,1\ny.png,yes\n", "line 3"),
        ("image_id,a\nx.png,1,1\n", "line 2"),
        ("2\na b\nx.png 1 1\ny.png 1\n", "line 4"),
        ("image_id,a\nother.png,1\n", "names none of the images"),
        (b"\xff\xfe\x00\x81", "cannot be read as text"),
        (None, "cannot be read as text"),
    ],
)
def test_bad_tables_in_one_sentence(celeba: Path, text: str | bytes | None, words: str) -> None:
    path = celeba / "bad.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    source = open_source(str(celeba))
    with pytest.raises(GlowkitError, match=words):
        attributes_of(source, "train", path)


def test_a_table_needs_image_files(tmp_path: Path) -> None:
    with pytest.raises(GlowkitError, match="not a folder"):
        attributes_of(open_source("digits"), "train", tmp_path / "any.csv")


def test_images_without_any_attribute(folder: Path, save: Save) -> None:
    np.save(folder / "a.npy", np.zeros((20, 8, 8), np.uint8))
    with pytest.raises(GlowkitError, match="--labels"):
        attributes_of(open_source(str(folder / "a.npy")), "train")
