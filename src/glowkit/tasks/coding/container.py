"""Files of compressed images: bytes that say whose they are, and whether they are whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from glowkit.core import Density, GlowkitError
from glowkit.core.checking import check_context
from glowkit.densities import Dequantize, WithLabels, WithVectors
from glowkit.densities.dequantize import check_images
from glowkit.tasks.coding.codec import Codec
from glowkit.tasks.coding.encoder import Encoder, checksum, stack_over
from glowkit.tasks.coding.functions import Integers
from glowkit.tasks.coding.grid import FRACTION
from glowkit.tasks.coding.header import (
    DAMAGED,
    LABELS,
    NONE,
    VECTORS,
    Header,
    Plan,
    file_of,
    parsed,
)
from glowkit.tasks.coding.mixing import ContextMixing
from glowkit.tasks.coding.stack import Stack, Unfit, coder_of

ELEMENTS, MOST_AT_ONCE = 1 << 15, 256
MOST_ELEMENTS = 1 << 27
"""Of a batch: a file that asks for more, and for the memory it takes, is damaged."""

LONGEST_RUN = 1 << 12
"""Images a bit of a file, at most: what asks for more labels, and for their memory, is damaged."""

_DIGIT = 1 << 16


@dataclass(frozen=True)
class Compressed:
    """A file's bytes; how many of its images are coded without the model, and how many images the
    model was given and could not code.
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

    The first images are coded without the model, by mixed predictions that learn from them, until
    the file holds the bits that bits back needs (11 to 25 a value of one image) and the model is
    shorter than they are; few images are all coded so. With a context, it is in the file: class
    labels in log₂ classes bits each, vectors rounded to 2^-14. Shapes: images (N, C, H, W),
    integers. Cost: one exact evaluation of the flow in float64, and with `verify` one of its
    inverse; and 0.1 ms a value of the first images.

    Args:
        model: an image model made of glowkit's own layers, trained or loaded.
        context: class labels (N,) or vectors (N, features) for a conditional model.
        bits: of dequantization noise, 2 to 16; see `Codec.compile`.
        verify: decode every batch before it is kept; what would not come back is coded without the
            model.

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
    if not header.fits(codec):
        raise GlowkitError("these images were compressed with another model; give the one used")
    if max(size for size, _ in plan) * codec.size > MOST_ELEMENTS:
        raise GlowkitError(DAMAGED.format("its batches are too large"))
    try:
        stack = Stack(coder_of(words))
        _check_bits(stack, header.count // LONGEST_RUN)
        given = pop_context(stack, codec, header.kind, header.count)
        images = np.concatenate(list(_parts(stack, codec, header, plan, given))[::-1])
    except GlowkitError:
        raise
    except (Unfit, ValueError, IndexError, OverflowError, MemoryError) as error:
        raise GlowkitError(DAMAGED.format("it does not decode")) from error
    sum_of_them = checksum(images)
    if header.checksum is None:
        right = stack.place() == stack_over(sum_of_them).place()
    else:
        right = sum_of_them == header.checksum and not stack.bits()
    if not right:
        raise GlowkitError(
            "the images decoded are not those that were compressed: the file was made by another"
            " version of glowkit or is damaged; use the version that made it, or another copy"
        )
    return pixels_of(images, codec.levels), context_of(given, header.kind)


def pixels_of(images: Integers, levels: int) -> Tensor:
    """Whole numbers as images are given: uint8 up to 256 levels, and int32 beyond."""
    return torch.from_numpy(images).to(torch.uint8 if levels <= 256 else torch.int32)


def _parts(
    stack: Stack, codec: Codec, header: Header, plan: Plan, given: Integers | None
) -> Iterator[Integers]:
    """Batches of images, the last one first.

    Before each the stack must hold what it takes at least, so that a file that claims more images
    than it has takes no longer than one of its own length.
    """
    at, first = header.count, header.version == 1
    for place, (size, repeats) in list(enumerate(plan))[::-1]:
        if size:
            for _ in range(repeats):
                _check_bits(stack, size * codec.size)
                at -= size
                yield codec.decode(stack, size, None if given is None else given[at : at + size])
        elif first:
            for _ in range(repeats):
                _check_bits(stack, codec.size * (codec.levels - 1).bit_length() // 2)
                at -= 1
                yield _pop_plain(stack, codec, at)
        else:
            for run in [repeats] if place == 0 else repeat(1, repeats):
                at -= run
                yield _pop_run(stack, codec, run)


def _check_bits(stack: Stack, least: int) -> None:
    if stack.bits() < least - 64:
        raise GlowkitError(DAMAGED.format("it claims more images than it holds"))


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
    check_images(images, model.shape, model.levels, model.anchor)
    check_context(model, context)
    given, kind = whole_context(codec, model, context, len(images))
    values = images.cpu().numpy().astype(np.int64)
    encoder = Encoder(codec, checksum(values), verify)
    most = batch_size or min(MOST_AT_ONCE, ELEMENTS // codec.size)
    most = max(1, min(most, MOST_ELEMENTS // codec.size))
    done = 0
    while done < len(values):
        done += encoder.step(values[done : done + most], None if given is None else given[done:])
        progress(done, encoder.bytes())
    encoder.finish()
    stack, plan = encoder.stack, encoder.plan
    push_context(stack, codec, kind, given)
    words = stack.coder.words().astype("<u4").tobytes().rstrip(b"\0")
    plain = sum(repeats for size, repeats in plan if not size)
    return Compressed(file_of(codec, kind, len(values), plan, words), plain, encoder.fallbacks)


def _pop_run(stack: Stack, codec: Codec, count: int) -> Integers:
    """Images that one mixing learnt from. They never take what lies at the bottom."""
    mixing, images = ContextMixing(codec.shape, codec.levels), []
    for _ in range(count):
        _check_bits(stack, 64 + 64)
        images.append(mixing.pop(stack))
    return np.stack(images)


def _pop_plain(stack: Stack, codec: Codec, number: int) -> Integers:
    """Of a file of version 1: an image as it is, but for a mask."""
    masked = stack.pop(np.full(codec.shape, codec.levels))
    return (masked - _mask(codec, number))[None] % codec.levels


def _mask(codec: Codec, number: int) -> Integers:
    """What was added to such an image, so that its bits looked random: noise was made of them next.

    The raw stream of PCG64 is the same in every version of numpy.
    """
    raw = np.random.PCG64(number).random_raw(codec.size)
    return (raw % np.uint64(codec.levels)).astype(np.int64).reshape(codec.shape)


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
    _check_bits(stack, 32 * count * codec.features)
    digits = np.full((count, codec.features), _DIGIT)
    high = stack.pop(digits)
    return high * _DIGIT + stack.pop(digits) - (1 << 31)


def context_of(given: Integers | None, kind: int) -> Tensor | None:
    """A context as a model takes it."""
    if given is None:
        return None
    values = torch.from_numpy(given)
    return values if kind == LABELS else (values.double() * 2.0**-FRACTION).float()
