"""The encoder's search for codes that decode to an image itself, which then loses nothing again.

A decoded image has whole pixels within their levels: what was decoded below black is black. That
moves its latents, and where one moves by more than half a step, the image's nearest code is not the
code that it was decoded from. That code decodes to the image all the same, and can be found.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from glowkit.core import GlowkitError
from glowkit.tasks.coding.functions import Integers, Reals
from glowkit.tasks.lossy.coder import LossyCodec
from glowkit.tasks.lossy.symbols import Coded

TRIES = 24
"""Codes looked at for an image of its own."""

SOON, CLOSER = 4, 0.9
"""Tries after which the nearest one has come down to this part of the first one's distance: that of
images which were never decoded stays."""

ROUNDS = 8
"""Codes near an image, for which one is looked for that what they decode to has as its own."""

GENERATIONS = 3
"""Of each of them."""

LOST = 0.3
"""Decibels that a fixed point may lose."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Coding:
    """Latents of images; what they decode to, (N, C, H, W); and which of it will stay, (N,)."""

    coded: list[Coded]
    images: Integers
    fixed: NDArray[np.bool_]

    def put(self, rows: Integers, other: "Coding", chosen: NDArray[np.bool_]) -> None:
        """Write those chosen of another into these rows."""
        for latent, another in zip(self.coded, other.coded, strict=True):
            latent.put(rows, another, chosen)
        self.images[rows], self.fixed[rows] = other.images[chosen], other.fixed[chosen]


def coded_once(
    codec: LossyCodec, images: Integers, step: float, given: Integers | None = None
) -> Coding:
    """The nearest codes of images."""
    coded, again = codec.code(images, step, given)
    return Coding(coded, again, np.zeros(len(images), bool))


def searched(
    codec: LossyCodec, images: Integers, step: float, given: Integers | None = None
) -> Coding:
    """Codes of images that are fixed points, where such are found at most 0.3 dB worse.

    An image's own code, if it has one. Else the own code of what its nearest code decodes to, which
    costs nothing, or of one of the two generations after that; else of what another code near it
    decodes to, up to eight, and so on; and else the nearest code. The others are those of values
    v ← v + (P(g(v)) − g(v)) / 2, as in `own_codes`.
    """
    best = own_codes(codec, images, step, given)
    allowed = 10 ** (LOST / 10) * np.maximum(_error(images, best.images), 1e-12)
    values, again, rows = codec.values(images), images.copy(), np.arange(len(images))

    def nearby(part: Integers) -> tuple[list[Coded], Integers]:
        return codec.code_values(values[part], step, _of(given, part))

    def own(part: Integers) -> Coding:
        return own_codes(codec, again[part], step, _of(given, part))

    for _ in range(ROUNDS):
        rows, left = rows[~best.fixed[rows]], [rows[:0]]
        for part, (_, made) in _without_overflow(nearby, rows):
            values[part] += (codec.nearest(images[part], made) - made) // 2
            again[part] = codec.pixels(made)
            left.append(part)
        rows = tried = np.concatenate(left)
        for _ in range(GENERATIONS):
            near = _error(images[tried], again[tried]) <= allowed[tried]
            tried, left = tried[near & ~best.fixed[tried]], [rows[:0]]
            for part, found in _without_overflow(own, tried):
                best.put(part[found.fixed], found, found.fixed)
                again[part] = found.images
                left.append(part)
            tried = np.concatenate(left)
    return best


def own_codes(
    codec: LossyCodec, images: Integers, step: float, given: Integers | None = None
) -> Coding:
    """Codes that decode to the images themselves, which are `fixed` then; else the nearest codes.

    What a code decodes to, before it is rounded, lacks something of the nearest values that are
    rounded to the image; half of that is added to the values that are coded next, and so on:
    v ← v + (P(g(v)) − g(v)) / 2, P being the projection and g coding and decoding, a subgradient
    method for the code nearest to the image among those that decode to it.
    Cost: that of coding, as often as there are tries; five times for images without such a code.
    """
    values = codec.values(images)
    coded, made = codec.code_values(values, step, given)
    found = Coding(coded, codec.pixels(made), np.zeros(len(images), bool))
    rows = np.arange(len(images))
    first, least = np.full(len(images), np.inf), np.full(len(images), np.inf)
    parts = iter([(rows, (coded, made))])

    def code(part: Integers) -> tuple[list[Coded], Integers]:
        return codec.code_values(values[part], step, _of(given, part))

    for number in range(TRIES):
        left = [rows[:0]]
        for part, (coded, made) in parts:
            lacking = codec.nearest(images[part], made) - made
            distance = np.square(lacking.astype(np.float64)).reshape(len(part), -1).sum(1)
            hit = distance == 0
            found.put(part[hit], Coding(coded, images[part], hit), hit)
            if not number:
                first[part] = distance
            least[part] = np.minimum(least[part], distance)
            values[part] += lacking // 2
            stay = ~hit
            if number == SOON:
                stay &= least[part] <= CLOSER**2 * first[part]
            left.append(part[stay])
        parts = _without_overflow(code, np.concatenate(left))
    return found


def _without_overflow(
    code: Callable[[Integers], Found], rows: Integers
) -> Iterator[tuple[Integers, Found]]:
    """What is found for rows, in as few parts as it takes to leave out those that overflow.

    So far out no code is there; but what an image is coded as does not depend on its neighbours.
    """
    if not len(rows):
        return
    try:
        found = code(rows)
    except GlowkitError:
        if len(rows) > 1:
            for half in np.array_split(rows, 2):
                yield from _without_overflow(code, half)
        return
    yield rows, found


def _of(given: Integers | None, rows: Integers) -> Integers | None:
    return None if given is None else given[rows]


def _error(images: Integers, others: Integers) -> Reals:
    return np.square((images - others).astype(np.float64)).mean((1, 2, 3))
