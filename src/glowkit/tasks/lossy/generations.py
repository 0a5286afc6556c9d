"""Rates and errors of a codec over its steps, and of images that are coded again and again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from glowkit.tasks.coding.functions import Integers
from glowkit.tasks.coding.header import numbers_bytes
from glowkit.tasks.coding.stack import Stack
from glowkit.tasks.lossy import symbols
from glowkit.tasks.lossy.classical import Codec, measured, nearest_quality
from glowkit.tasks.lossy.coder import LossyCodec
from glowkit.tasks.lossy.container import CHECK, HEADER, ideal_bits, psnr
from glowkit.tasks.lossy.search import coded_once, searched
from glowkit.tasks.lossy.symbols import Coded


class Point(NamedTuple):
    """One step or quality: PSNR of all images, bits/pixel of a file an image, and of −log₂ P or
    what a codec writes without its header; SSIM, the mean over images.
    """

    at: float
    psnr: float
    files: float
    bare: float
    ssim: float | None

    def __str__(self) -> str:
        similarity = "" if self.ssim is None else f"SSIM {self.ssim:.4f}, "
        return (
            f"{self.psnr:.2f} dB, {similarity}{self.files:.3f} bits/pixel of a file an image,"
            f" {self.bare:.3f} without headers"
        )


@dataclass
class Generations:
    """PSNR against the originals after 1, 2, ... generations, and since the second one the share of
    codes that are those of the generation before, and of images that did not change.
    """

    psnr: list[float] = field(default_factory=list)
    same_codes: list[float] = field(default_factory=list)
    same_images: list[float] = field(default_factory=list)


def rate_points(
    codec: LossyCodec, images: Tensor, unit: float, steps: Sequence[float]
) -> list[Point]:
    """Rate and error of images (N, C, H, W) of the codec's size, at steps in pixel levels."""
    values, pixels = _integers(images), images.numel() / images.shape[1]
    points = []
    for step in steps:
        coded, again = codec.code(values, step * unit)
        made = torch.from_numpy(again)
        sides = values.shape[2], values.shape[3]
        size = 8 * sum(_file_bytes(coded, row, step * unit, sides) for row in range(len(values)))
        bare = sum(ideal_bits(latent, step * unit) for latent in coded)
        points.append(_point(step, images, made, codec.levels, size / pixels, bare / pixels))
    return points


def generations(
    codec: LossyCodec, images: Tensor, step: float, count: int, search: bool = True
) -> Generations:
    """Code and decode images (N, C, H, W) of the codec's size `count` times, at a latents' step.

    Each generation has whole pixels, as a file of images has.
    """
    found, current = Generations(), _integers(images)
    live = np.arange(len(current))  # an image that did not change is coded as it was before
    before: list[Integers] = []
    for _ in range(count):
        again, codes = current.copy(), [each.copy() for each in before]
        if len(live):
            made = (searched if search else coded_once)(codec, current[live], step)
            again[live] = made.images
            shapes = [(len(images), *latent.steps.shape[1:]) for latent in made.coded]
            codes = codes or [np.empty(shape, np.int64) for shape in shapes]
            for each, latent in zip(codes, made.coded, strict=True):
                each[live] = latent.steps
        found.psnr.append(psnr(images, torch.from_numpy(again), codec.levels))
        changed = (again != current).reshape(len(again), -1).any(1)
        if before:
            equal = sum(int((new == old).sum()) for new, old in zip(codes, before, strict=True))
            found.same_codes.append(equal / sum(each.size for each in codes))
            found.same_images.append(1 - float(changed.mean()))
        current, before, live = again, codes, np.flatnonzero(changed)
    return found


def generations_of(
    again: Callable[[Tensor], Tensor], images: Tensor, count: int, levels: int, shift: int = 0
) -> Generations:
    """The same of any other codec, `again` being what it makes of images.

    shift: pixels that images are moved to the right before every other generation, and back
        afterwards, as if they were cropped and pasted: blocks then do not fall on blocks.
    """
    found, current = Generations(), images
    for number in range(count):
        moved = shift if number % 2 else 0
        after = again(current.roll(moved, -1)).roll(-moved, -1)
        found.psnr.append(psnr(images, after, levels))
        if number:
            unchanged = (after == current).flatten(1).all(1)
            found.same_images.append(float(unchanged.double().mean()))
        current = after
    return found


def points_of(codec: Codec, images: Tensor, levels: int) -> Iterator[Point]:
    """Those of another codec, at each of its qualities."""
    pixels = images.shape[2] * images.shape[3]
    for quality in codec.qualities:
        found = measured(codec, quality, images)
        files, bare = found.bytes * 8 / pixels, found.bare * 8 / pixels
        yield _point(quality, images, found.images, levels, files, bare)


def generations_beside(
    codecs: Mapping[str, Codec], images: Tensor, bytes: float, count: int, levels: int
) -> dict[str, Generations]:
    """Generations of other codecs, at the quality of each whose files are nearest to so many bytes.

    JPEG also with images that are shifted by a pixel in between.
    """
    found = {}
    for name, codec in codecs.items():
        quality = nearest_quality(codec, images, bytes, False)

        def again(x: Tensor, codec: Codec = codec, quality: float = quality) -> Tensor:
            return measured(codec, quality, x).images

        found[name] = generations_of(again, images, count, levels)
        if name == "jpeg":
            found["jpeg, shifted"] = generations_of(again, images, count, levels, 1)
    return found


def ssim(images: Tensor, others: Tensor, levels: int) -> float | None:
    """The mean structural similarity of images (N, C, H, W), at most 1; None below 11x11 pixels.

    Under a Gaussian window of 11x11, with a standard deviation of 1.5 pixels, as torchmetrics has
    it. MS-SSIM, which halves images four times, needs sides above 160 pixels.
    Source: Wang et al., IEEE Transactions on Image Processing 13(4), 2004.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    if min(images.shape[2:]) < 11:
        return None
    pair = others.double(), images.double()
    return float(structural_similarity_index_measure(*pair, data_range=float(levels - 1)))  # type: ignore[arg-type]


def _point(
    at: float, images: Tensor, made: Tensor, levels: int, files: float, bare: float
) -> Point:
    return Point(at, psnr(images, made, levels), files, bare, ssim(images, made, levels))


def _integers(images: Tensor) -> Integers:
    return images.cpu().numpy().astype(np.int64)


def _file_bytes(coded: Sequence[Coded], row: int, step: float, sides: tuple[int, int]) -> int:
    """Of a file of this image alone."""
    stack = Stack()
    for latent in reversed(coded):
        symbols.push(stack, latent[row : row + 1], step)
    numbers = len(numbers_bytes([1, *sides, 0]))
    return HEADER.size + numbers + 4 * len(stack.coder.words()) + CHECK.size
