"""A file in the making: a stack that grows, first without the model and then by it."""

import zlib

import numpy as np

from glowkit.tasks.coding.codec import Codec
from glowkit.tasks.coding.functions import Integers
from glowkit.tasks.coding.header import Plan, size_beside
from glowkit.tasks.coding.mixing import Coded, ContextMixing
from glowkit.tasks.coding.stack import Stack, TooFewBits, Unfit, coder_of

HEADROOM = 6
"""Bits a dimension that coding takes beside those of dequantization, before any was seen."""

LENT = 64
"""Bits a value, on the stack on which it is tried whether the model is shorter."""


def checksum(images: Integers) -> int:
    """Of images, 32 bits."""
    return zlib.crc32(images.astype("<u2").tobytes())


def stack_over(checksum: int, careful: bool = False) -> Stack:
    """A stack that has nothing but a checksum at its bottom, and one bit, which keeps its place.

    What is on it is never less than 33 bits: a decoder that finds less has read what is no file.
    """
    words = np.array([checksum, 1], np.uint32)
    return Stack(coder_of(words), careful)


class Encoder:
    """Images are coded by `ContextMixing` until the stack holds the bits that bits back needs and
    the model is shorter; then by the model, in batches, as many at a time as there are bits for.

    What the model cannot code then is coded by a mixing of its own. Where the model never gets
    shorter, as with pictures far simpler than its own, everything is coded without it.

    Args:
        verify: decode what was coded before it is kept.

    plan: see `header`. start: images coded before the first batch. fallbacks: images that the
    model was given and could not code.
    """

    def __init__(self, codec: Codec, checksum: int, verify: bool) -> None:
        self.codec, self.verify = codec, verify
        self.stack = stack_over(checksum, careful=True)
        self.plan: Plan = []
        self.done = self.fallbacks = 0
        self.need = float(codec.bits + HEADROOM)
        self.start: list[Coded] = []
        self.mixing: ContextMixing | None = self._mixing()
        self.seen: list[Integers] = []
        self.contexts: list[Integers | None] = []
        self.start_bits, self.asked_at, self.shorter = 0.0, 1, False

    def bytes(self) -> int:
        """Of a file that ended here, without a context; while `start` grows, to a byte or two."""
        words, state = self.stack.place()
        held = -(-(state.bit_length() + int(self.start_bits)) // 8) + 4 * words
        return size_beside(self.done, self.plan) + held

    def step(self, images: Integers, given: Integers | None) -> int:
        """Code as many of the images as the stack has bits for, or one; how many they were."""
        if self.mixing is None:
            size = self._batch(self.stack, images, given)
            if not size:
                fresh = self._mixing()
                self._checked([fresh.coded(images[0])], images[:1])
                self._planned(0)
        else:
            size = self._begin(images, given) if self._ready() else 0
            if not size:
                self._learn(self.mixing, images[0], None if given is None else given[:1])
        return max(size, 1)

    def finish(self) -> None:
        """Push what was not pushed yet."""
        if self.mixing is not None:
            self._checked(self.start, np.stack(self.seen))
            self.mixing = None

    def _mixing(self) -> ContextMixing:
        return ContextMixing(self.codec.shape, self.codec.levels)

    def _learn(self, mixing: ContextMixing, image: Integers, given: Integers | None) -> None:
        self.start.append(mixing.coded(image))
        self.start_bits += self.start[-1].bits
        self.seen.append(image)
        self.contexts.append(given)
        self._planned(0)

    def _ready(self) -> bool:
        """Whether there are bits for an image, and the model is shorter for those seen lately."""
        if self.start_bits < self.need * self.codec.size or len(self.start) < self.asked_at:
            return False
        if not self.shorter:
            self.shorter = self.model_is_shorter()
            self.asked_at = 2 * len(self.start)
        return self.shorter

    def model_is_shorter(self) -> bool:
        """Than what the later half of the images took so far, on a stack of random bits."""
        half = len(self.seen) // 2
        late, contexts = np.stack(self.seen[half:]), self.contexts[half:]
        raw = np.random.PCG64(0).random_raw(late.size * LENT // 64)
        words = np.ascontiguousarray(raw).astype("<u8").view("<u4").astype(np.uint32) | np.uint32(1)
        stack = Stack(coder_of(words), careful=True)
        before, given = stack.bits(), None
        if contexts[0] is not None:
            given = np.concatenate([own for own in contexts if own is not None])
        try:
            self.codec.encode(stack, late, given)
        except Unfit:
            self.fallbacks += 1
            return False
        return stack.bits() - before < sum(coded.bits for coded in self.start[half:])

    def _begin(self, images: Integers, given: Integers | None) -> int:
        """The first batch, on top of what was coded without the model; 0 if it does not fit."""
        before, failures = self.stack, self.fallbacks
        self._checked(self.start, np.stack(self.seen))
        size = self._batch(self.stack, images, given)
        if size:
            self.start_bits, self.mixing = 0.0, None
            self.seen.clear()
            self.start.clear()
            return size
        self.stack = before
        if self.fallbacks > failures:
            self.asked_at = 2 * len(self.start)
        return 0

    def _checked(self, coded: list[Coded], images: Integers) -> None:
        """Push images coded by one mixing, so that the first comes out first."""
        stack = self.stack.copy()
        for one in reversed(coded):
            one.push(stack)
        if self.verify:
            again, mixing = stack.copy(), self._mixing()
            again.careful = False
            back = [mixing.pop(again) for _ in coded]
            if not np.array_equal(back, images) or again.place() != self.stack.place():
                raise AssertionError("what was coded without the model does not come back")
        self.stack = stack

    def _batch(self, stack: Stack, images: Integers, given: Integers | None) -> int:
        """Push as many images as there are bits for; how many they were."""
        size = min(int(stack.bits() / (self.need * self.codec.size)), len(images))
        while size:
            own = None if given is None else given[:size]
            try:
                self.stack = self._pushed(images[:size], own)
            except TooFewBits:
                self.need *= 1.1
            except Unfit:
                self.fallbacks += size == 1
            else:
                self._planned(size)
                return size
            size //= 2
        return 0

    def _pushed(self, images: Integers, given: Integers | None) -> Stack:
        """The stack with these images, or Unfit."""
        stack, before = self.stack.copy(), self.stack.bits()
        self.codec.encode(stack, images, given)
        if stack.bits() < images.size:
            raise Unfit  # as a decoder may rely upon
        if self.verify:
            again = stack.copy()
            again.careful = False  # what was pushed is there
            back = self.codec.decode(again, len(images), given)
            if not np.array_equal(back, images) or again.place() != self.stack.place():
                raise Unfit
        used = (before - stack.lowest) / images.size
        self.need = max(used + 1, self.need - 1) if used < self.need else used + 1
        return stack

    def _planned(self, size: int) -> None:
        self.done += max(size, 1)
        if self.plan and self.plan[-1][0] == size:
            self.plan[-1] = size, self.plan[-1][1] + 1
        else:
            self.plan.append((size, 1))
