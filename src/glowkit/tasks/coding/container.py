"""Files of compressed images: bytes that say whose they are, and whether they are whole."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from glowkit.core import Density, GlowkitError
from glowkit.core.density import check_context
from glowkit.densities import Dequantize, WithLabels, WithVectors
from glowkit.tasks.coding.codec import Codec
from glowkit.tasks.coding.functions import Integers
from glowkit.tasks.coding.grid import FRACTION
from glowkit.tasks.coding.header import (
    CHECK,
    DAMAGED,
    HEADER,
    LABELS,
    MAGIC,
    NONE,
    VECTORS,
    VERSION,
    parsed,
    plan_bytes,
)
from glowkit.tasks.coding.stack import Constriction, Stack, TooFewBits, Unfit, Words, fast_coder

HEADROOM = 6
"""Bits a dimension that coding takes beside those of dequantization, before any was seen."""

ELEMENTS, MOST_AT_ONCE = 1 << 15, 256
MOST_ELEMENTS = 1 << 27
"""Of a batch: a file that asks for more, and for the memory it takes, is damaged."""

_DIGIT = 1 << 16


@dataclass(frozen=True)
class Compressed:
    """A file's bytes; how many of its images are coded plainly, and how many of them because
    the model could not code them.
    """

    data: bytes
    plain: int
    fallbacks: int


def compress(
    model: Density,
    images: Tensor,
    context: Tensor | None = None,
    bits: int | None = None,
    verify: bool = True,
) -> bytes:
    """Code images by a model, without loss, in about −log₂ P of the model's bound.

    The first images are coded plainly, by log₂ levels bits a pixel, until the file holds the bits
    that bits back needs (11 to 25 a value of one image): a few images are not made smaller. With a
    context, it is in the file: class labels in log₂ classes bits each, vectors rounded to 2^-14.
    Shapes: images (N, C, H, W), integers. Cost: one exact evaluation of the flow in float64, and
    with `verify` one of its inverse.

    Args:
        model: an image model made of glowkit's own layers, trained or loaded.
        context: class labels (N,) or vectors (N, features) for a conditional model.
        bits: of dequantization noise, 2 to 16; see `Codec.compile`.
        verify: decode every batch before it is kept; one that would not come back is coded plainly.

    Raises:
        GlowkitError: for images or a context that the model does not take, a layer that has no
            exact form, or bits out of range.

    >>> from glowkit.densities import StandardNormal, Uniform
    >>> model = Dequantize(Uniform((1, 2, 2)), StandardNormal((1, 2, 2)), levels=4)
    >>> images = torch.randint(4, (50, 1, 2, 2), dtype=torch.uint8)
    >>> again, _ = decompress(model, compress(model, images))
    >>> torch.equal(again, images)
    True
    """
    return compressed(Codec.compile(model, bits), model, images, context, verify).data


def decompress(model: Density, data: bytes) -> tuple[Tensor, Tensor | None]:
    """The images that `compress` coded with this model, and their context.

    Images are uint8 up to 256 levels and int32 beyond, (N, C, H, W). It does not matter on which
    machine, by how many threads, or with which of the two coders they were compressed.

    Raises:
        GlowkitError: for a file that is damaged, no such file, or made with another model.
    """
    header, plan, words = parsed(data)
    codec = Codec.compile(model, header.bits)
    kind = LABELS if codec.classes else VECTORS if codec.features else NONE
    made_with = codec.identity, codec.shape, codec.levels, kind
    if (header.identity, header.shape, header.levels, header.kind) != made_with:
        raise GlowkitError("these images were compressed with another model; give the one used")
    if max(size for size, _ in plan) * codec.size > MOST_ELEMENTS:
        raise GlowkitError(DAMAGED.format("its batches are too large"))
    try:
        stack = Stack(Constriction(words) if fast_coder() else Words(words.tolist()))
        given = pop_context(stack, codec, header.kind, header.count)
        parts, at = list[Integers](), header.count
        for size in reversed_sizes(plan):
            at -= max(size, 1)
            own = None if given is None else given[at : at + size]
            parts.append(codec.decode(stack, size, own) if size else _pop_plain(stack, codec, at))
        images = np.concatenate(parts[::-1])
    except (Unfit, ValueError, IndexError, OverflowError, MemoryError) as error:
        raise GlowkitError(DAMAGED.format("it does not decode")) from error
    wide = torch.from_numpy(images)
    made = wide.to(torch.uint8 if codec.levels <= 256 else torch.int32)
    if _checksum(images) != header.checksum or stack.bits():
        raise GlowkitError(
            "the images decoded are not those that were compressed: the file was made by another"
            " version of glowkit or is damaged; use the version that made it, or another copy"
        )
    return made, context_of(given, header.kind)


def compressed(
    codec: Codec,
    model: Density,
    images: Tensor,
    context: Tensor | None = None,
    verify: bool = True,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] = lambda done, size: None,
) -> Compressed:
    """What `compress` makes, with a compiled codec, and how it went.

    progress: called with the number of images done, and the bytes of a file of these alone, but
        for their context.
    """
    assert isinstance(model, Dequantize)
    model._check(images)
    check_context(model, context)
    given, kind = whole_context(codec, model, context, len(images))
    values = images.cpu().numpy().astype(np.int64)
    encoder = _Encoder(codec, verify)
    most = batch_size or min(MOST_AT_ONCE, ELEMENTS // codec.size)
    most = max(1, min(most, MOST_ELEMENTS // codec.size))
    done = 0
    while done < len(values):
        done += encoder.step(values[done : done + most], None if given is None else given[done:])
        progress(done, encoder.bytes())
    push_context(encoder.stack, codec, kind, given)
    header = HEADER.pack(
        *(MAGIC, VERSION, kind, codec.identity, codec.levels, *codec.shape),
        *(len(values), codec.bits, _checksum(values)),
    )
    words = encoder.stack.coder.words().astype("<u4").tobytes()
    body = header + plan_bytes(encoder.plan) + words
    plain = sum(repeats for size, repeats in encoder.plan if not size)
    return Compressed(body + CHECK.pack(zlib.crc32(body)), plain, encoder.fallbacks)


class _Encoder:
    """A stack that grows by batches, and by images coded plainly where a batch is not possible.

    plan: pairs of a batch's images, 0 for one coded plainly, and how many such there are in a row.
    """

    def __init__(self, codec: Codec, verify: bool) -> None:
        self.codec, self.verify = codec, verify
        self.stack = Stack(careful=True)
        self.plan: list[tuple[int, int]] = []
        self.done = self.fallbacks = 0
        self.need = float(codec.bits + HEADROOM)

    def bytes(self) -> int:
        """Of a file that ended here."""
        parts = HEADER.size + len(plan_bytes(self.plan)) + CHECK.size
        return parts + self.stack.bits() // 8

    def step(self, images: Integers, given: Integers | None) -> int:
        """Push as many of the images as the stack has bits for; how many they were."""
        affordable = int(self.stack.bits() / (self.need * self.codec.size))
        size = min(affordable, len(images))
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
        _push_plain(self.stack, self.codec, images[0], self.done)
        self._planned(0)
        return 1

    def _pushed(self, images: Integers, given: Integers | None) -> Stack:
        """The stack with these images, or Unfit."""
        stack, before = self.stack.copy(), self.stack.bits()
        self.codec.encode(stack, images, given)
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


def _push_plain(stack: Stack, codec: Codec, image: Integers, number: int) -> None:
    masked = (image + _mask(codec, number)) % codec.levels
    stack.push(masked, np.full(codec.shape, codec.levels))


def _pop_plain(stack: Stack, codec: Codec, number: int) -> Integers:
    masked = stack.pop(np.full(codec.shape, codec.levels))
    return (masked - _mask(codec, number))[None] % codec.levels


def _mask(codec: Codec, number: int) -> Integers:
    """What is added to an image that is coded plainly, so that its bits look random.

    They are what noise is made of next: those of an image as it is, much of it black, would make
    noise that no model has seen. The raw stream of PCG64 is the same in every version of numpy.
    """
    raw = np.random.PCG64(number).random_raw(codec.size)
    return (raw % np.uint64(codec.levels)).astype(np.int64).reshape(codec.shape)


def reversed_sizes(plan: list[tuple[int, int]]) -> Iterator[int]:
    """The sizes of batches, the last one first."""
    for size, repeats in reversed(plan):
        for _ in range(repeats):
            yield size


def _checksum(images: Integers) -> int:
    return zlib.crc32(images.astype("<u2").tobytes())


class Conditional(Protocol):
    """What is known of a codec's context."""

    @property
    def classes(self) -> int: ...

    @property
    def features(self) -> int: ...


def whole_context(
    codec: Conditional, model: Density, context: Tensor | None, n: int
) -> tuple[Integers | None, int]:
    """The context as whole numbers, and its kind; what a model refuses is refused here."""
    for part in model.modules():
        if isinstance(part, WithLabels | WithVectors):
            part.given(context, n)  # says what is wrong with it
    if not (codec.classes or codec.features):
        return None, NONE
    assert context is not None
    if codec.classes:
        return context.cpu().numpy().astype(np.int64), LABELS
    steps = torch.floor(context.detach().cpu().double() * 2.0**FRACTION + 0.5)
    if float(steps.abs().max()) >= 1 << 31:
        raise GlowkitError("the context holds numbers beyond ±131072; scale them to order one")
    return steps.numpy().astype(np.int64), VECTORS


def push_context(stack: Stack, codec: Conditional, kind: int, given: Integers | None) -> None:
    """Push a context: labels in log2 classes bits, numbers in 32."""
    if given is None:
        return
    if kind == LABELS:
        stack.push(given, np.full(given.shape, codec.classes))
        return
    whole = given + (1 << 31)
    for digit in (whole % _DIGIT, whole // _DIGIT):
        stack.push(digit, np.full(given.shape, _DIGIT))


def pop_context(stack: Stack, codec: Conditional, kind: int, count: int) -> Integers | None:
    """Pop what `push_context` pushed for so many images."""
    if kind == NONE:
        return None
    if kind == LABELS:
        return stack.pop(np.full(count, codec.classes))
    digits = np.full((count, codec.features), _DIGIT)
    high = stack.pop(digits)
    return high * _DIGIT + stack.pop(digits) - (1 << 31)


def context_of(given: Integers | None, kind: int) -> Tensor | None:
    """A context as a model takes it."""
    if given is None:
        return None
    values = torch.from_numpy(given)
    return values if kind == LABELS else (values.double() * 2.0**-FRACTION).float()
