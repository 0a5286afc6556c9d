"""Files of images coded with loss."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log10

import numpy as np
import torch
from torch import Tensor

from glowkit.core import Density, GlowkitError
from glowkit.core.checking import check_context
from glowkit.densities import Dequantize
from glowkit.densities.dequantize import check_images
from glowkit.tasks.coding.container import (
    context_of,
    pixels_of,
    pop_context,
    push_context,
    whole_context,
)
from glowkit.tasks.coding.encoder import checksum
from glowkit.tasks.coding.functions import Integers
from glowkit.tasks.coding.header import (
    LABELS,
    NONE,
    VECTORS,
    bytes_of_file,
    number_at,
    numbers_bytes,
)
from glowkit.tasks.coding.stack import Stack, Unfit, coder_of
from glowkit.tasks.lossy import symbols
from glowkit.tasks.lossy.coder import LossyCodec
from glowkit.tasks.lossy.quantise import Latent, bits, check_lossy
from glowkit.tasks.lossy.search import coded_once, searched
from glowkit.tasks.lossy.symbols import Coded
from glowkit.tasks.lossy.tiles import joined, resized, tiled

MAGIC, VERSION = b"GLWL", 1
HEADER = struct.Struct("<4sBB8sfI")
"""Magic, version, kind of context (and 4 for whole images), identity, step, CRC of the images."""

CHECK = struct.Struct("<I")
"""Of the file, at its end."""

WHOLE = 4
ELEMENTS, MOST_ELEMENTS = 1 << 18, 1 << 27
"""Numbers coded at a time; and in an image at most: a file that asks for more is damaged."""

MOST_IMAGES = 1 << 24
DAMAGED = "this lossy file is damaged: {}; use another copy"


@dataclass(frozen=True)
class Lossy:
    """A file's bytes, the images it decodes to, and how they were coded.

    fixed: how many of the model's images, tiles for instance, are coded as what they decode to.
    coded: how many there are. ideal_bits: Σ −log₂ P of the latents.
    """

    data: bytes
    images: Tensor
    fixed: int
    coded: int
    ideal_bits: float


def compress(
    model: Density,
    images: Tensor,
    step: float,
    context: Tensor | None = None,
    search: bool = True,
    whole: bool = False,
) -> bytes:
    """Code images with loss: the latents of a flow, rounded to a step.

    The finer the step, the better the images and the longer the file: with a model trained by
    `glowkit lossy train`, a step of Δ pixel levels (times the `unit` of its settings) leaves an
    error of about Δ²/12 where it does not cost more than it is worth. A model that was not trained
    so does far worse. Images larger or smaller than the model's are coded as tiles of its size.
    Shapes: (N, C, H, W), integers. Cost: one exact evaluation of the flow and of its inverse in
    float64; with `search` about ten times more for an image, and hundreds of times for one that it
    fails at.

    Source: Helminger et al. 2020; the closed loop with exact arithmetic is ours.

    Args:
        model: an image model with a learned prior at its splits or top, made of glowkit's layers.
        step: in the units of latents, more than 0.
        context: class labels (N,) or vectors (N, features) for a conditional model.
        search: look for the code that decodes to the image itself, which one that was decoded
            before has, by adding half of what a try lacks to what is coded next. Where it fails,
            codes near an image are tried, of which one is taken that costs at most 0.3 dB and is
            found again. An image with such a code stays as it is in every later generation at this
            step.
        whole: pass images of another size than the model's whole through its convolutions.

    Raises:
        GlowkitError: for a model or images that cannot be coded, or a step that is no number.

    >>> import glowkit
    >>> config = glowkit.GlowConfig((1, 4, 4), levels=1, steps=1, width=4)
    >>> images = torch.randint(256, (3, 1, 4, 4), dtype=torch.uint8)
    >>> model = glowkit.build(config)
    >>> _ = glowkit.initialize(model, images)
    >>> data = compress(model, images, step=0.01)
    >>> again, _ = decompress(model, data)
    >>> again.shape
    torch.Size([3, 1, 4, 4])
    """
    return compressed(model, images, step, context, search, whole).data


def decompress(model: Density, data: bytes) -> tuple[Tensor, Tensor | None]:
    """The images of a file that `compress` made with this model, and their context.

    They are the same to the last bit on every machine. Images are uint8 up to 256 levels and int32
    beyond, (N, C, H, W).

    Raises:
        GlowkitError: for a file that is damaged, no such file, or made with another model.
    """
    check_lossy(model)
    body = _checked(data)
    _, _, kind, identity, step, right = HEADER.unpack_from(body)
    count, at = number_at(body, HEADER.size)
    height, at = number_at(body, at)
    width, at = number_at(body, at)
    _, at = number_at(body, at)
    words = np.frombuffer(body[at:], "<u4").astype(np.uint32) if (len(body) - at) % 4 == 0 else None
    channels = (model.shape or (1,))[0]
    plausible = 0 < count <= MOST_IMAGES and 0 < height * width * channels <= MOST_ELEMENTS
    if words is None or not plausible or kind & ~7 or not 0 < step < float("inf"):
        raise GlowkitError(DAMAGED.format("its header holds what cannot be"))
    if kind & WHOLE:
        model = resized(model, height, width)
    codec = LossyCodec.compile(model)
    known = LABELS if codec.classes else VECTORS if codec.features else NONE
    if (identity, kind & 3) != (codec.identity[:8], known):
        raise GlowkitError("these images were compressed with another model; give the one used")
    per_image = ceil(height / codec.shape[1]) * ceil(width / codec.shape[2])
    if count * per_image > MOST_IMAGES:
        raise GlowkitError(DAMAGED.format("its header holds what cannot be"))
    try:
        stack = Stack(coder_of(words))
        given = pop_context(stack, codec, known, count)
        tiles = _decoded(codec, stack, count * per_image, step, _of_tiles(given, per_image))
    except (Unfit, ValueError, IndexError, OverflowError, MemoryError) as error:
        raise GlowkitError(DAMAGED.format("it does not decode")) from error
    if checksum(tiles) != right or stack.bits():
        raise GlowkitError(
            "the images decoded are not those that were coded: the file was made by another version"
            " of glowkit or is damaged; use the version that made it, or another copy"
        )
    return joined(pixels_of(tiles, codec.levels), height, width), context_of(given, known)


def compressed(
    model: Density,
    images: Tensor,
    step: float,
    context: Tensor | None = None,
    search: bool = True,
    whole: bool = False,
    progress: Callable[[int, int], None] = lambda done, size: None,
) -> Lossy:
    """What `compress` makes, and how it went; `progress` is told the images coded, and bytes: 0."""
    check_lossy(model)
    step = check_step(step)
    if not isinstance(images, Tensor) or images.dim() != 4 or not images.numel():
        raise GlowkitError(
            "images to code are a tensor (N, C, H, W) of whole numbers, N at least 1"
        )
    _, _, height, width = images.shape
    if whole:
        model = resized(model, height, width)
    assert isinstance(model, Dequantize)
    _, *size = model.shape
    tiles = tiled(images, (size[0], size[1]))
    check_images(tiles, model.shape, model.levels, model.anchor)
    check_context(model, context)
    codec = LossyCodec.compile(model)
    given, kind = whole_context(codec, model, context, len(images))
    seen = _of_tiles(given, len(tiles) // len(images))
    values = tiles.cpu().numpy().astype(np.int64)
    parts, made, fixed, ideal = list[list[Coded]](), list[Integers](), 0, 0.0
    for rows in _batches(codec, len(values)):
        own = None if seen is None else seen[rows]
        found = (searched if search else coded_once)(codec, values[rows], step, own)
        parts.append(found.coded)
        made.append(found.images)
        fixed += int(found.fixed.sum())
        ideal += sum(ideal_bits(latent, step) for latent in found.coded)
        progress(rows.stop, 0)
    stack = Stack()
    try:
        for latent in (latent for coded in reversed(parts) for latent in reversed(coded)):
            symbols.push(stack, latent, step)
    except Unfit:
        raise GlowkitError(
            "a latent is millions of steps from its mean; give a coarser step"
        ) from None
    push_context(stack, codec, kind, given)
    decoded = np.concatenate(made)
    kind |= WHOLE * whole
    head = HEADER.pack(MAGIC, VERSION, kind, codec.identity[:8], step, checksum(decoded))
    head += numbers_bytes([len(images), height, width, fixed])
    body = head + stack.coder.words().astype("<u4").tobytes()
    pixels = joined(pixels_of(decoded, codec.levels), height, width)
    return Lossy(body + CHECK.pack(zlib.crc32(body)), pixels, fixed, len(values), ideal)


def psnr(images: Tensor, others: Tensor, levels: int) -> float:
    """10 log₁₀ of the square of the highest level over the mean squared error, in dB."""
    error = float((images.double() - others.double()).square().mean())
    return 10 * log10((levels - 1) ** 2 / error) if error else float("inf")


def check_step(step: float) -> float:
    """A step as a file holds it, in float32. GlowkitError for what is none."""
    if isinstance(step, bool) or not isinstance(step, int | float) or not 1e-30 < step < 1e30:
        raise GlowkitError(f"step is {step!r}; it must be a number greater than 0")
    return float(np.float32(step))


def _batches(codec: LossyCodec, count: int) -> list[slice]:
    at_once = max(1, ELEMENTS // codec.size)
    return [slice(at, min(count, at + at_once)) for at in range(0, count, at_once)]


def _decoded(
    codec: LossyCodec, stack: Stack, count: int, step: float, given: Integers | None
) -> Integers:
    parts = []
    for rows in _batches(codec, count):
        own = None if given is None else given[rows]
        parts.append(
            codec.decoded(
                rows.stop - rows.start,
                step,
                lambda shape, log_std: symbols.pop(stack, shape, log_std, step),
                own,
            )
        )
    return np.concatenate(parts)


def _checked(data: bytes) -> bytes:
    """A file without its checksum. GlowkitError for one that is none, or damaged."""
    data = bytes_of_file(data, MAGIC, "glowkit lossy compress")
    if len(data) < HEADER.size + CHECK.size:
        raise GlowkitError(DAMAGED.format("it ends in its header"))
    body, check = data[: -CHECK.size], data[-CHECK.size :]
    if body[4] != VERSION:
        raise GlowkitError(
            f"this lossy file is of version {body[4]}, and this glowkit reads {VERSION}; it is"
            " damaged, or needs another glowkit"
        )
    if CHECK.unpack(check) != (zlib.crc32(body),):
        raise GlowkitError(DAMAGED.format("its checksum is wrong, or its end is missing"))
    return body


def _of_tiles(given: Integers | None, tiles: int) -> Integers | None:
    return None if given is None else np.repeat(given, tiles, 0)


def ideal_bits(coded: Coded, step: float) -> float:
    """Σ −log₂ P of a latent, of the normal distribution itself and not of a table."""
    log_std = torch.from_numpy(np.ascontiguousarray(coded.log_std))
    latent = Latent(torch.from_numpy(coded.steps) * step, log_std)
    each = bits(latent, torch.tensor(step, dtype=torch.float64))
    return float(each.expand_as(latent.residual).sum())
