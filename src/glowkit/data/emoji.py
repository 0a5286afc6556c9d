"""Noto Color Emoji as images: every emoji that a colour font has, on white, with attributes."""

from __future__ import annotations  # PIL's types are named without importing it

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glowkit.core.errors import GlowkitError
from glowkit.data.cache import PackWriter, packed
from glowkit.data.emoji_names import Emoji, emoji_attributes, list_emoji
from glowkit.data.partition import complete, shuffled, tenth
from glowkit.data.source import Source, build_splits

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

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
