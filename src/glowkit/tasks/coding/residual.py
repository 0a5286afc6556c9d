"""RealNVP's residual networks, exact; see `exact`."""

import numpy as np
import torch
from torch import Tensor

from glowkit.nets import (
    BatchNorm,
    MaskedSignPairs,
    NormedConv2d,
    ResidualNet,
    SignPairs,
    UnitConv2d,
)
from glowkit.nets.batchnorm import squared_scale
from glowkit.nets.residual import ResidualBlock
from glowkit.tasks.coding.exact import (
    STEP,
    Convolution,
    Net,
    activations,
    exact,
    net_of,
    rectified,
)
from glowkit.tasks.coding.functions import Reals, total
from glowkit.tasks.coding.grid import Book, numbers

_SMALLEST_NORM = 1e-12
"""What `torch.nn.functional.normalize` divides by at least."""


def unit_filters(conv: UnitConv2d) -> Reals:
    """V / ‖V‖, the squares summed in one order."""
    direction = numbers(conv.direction)
    flat = direction.reshape(len(direction), -1)
    length = np.maximum(np.sqrt(total(flat * flat)), _SMALLEST_NORM)
    return direction / length[:, None, None, None]


@exact(UnitConv2d)
def _unit(conv: UnitConv2d, book: Book) -> Net:
    weight = unit_filters(conv)
    made = Convolution(book, weight, np.zeros(len(weight)))
    return lambda a, context: made(a)


@exact(NormedConv2d)
def _normed(conv: NormedConv2d, book: Book) -> Net:
    weight = numbers(conv.magnitude)[:, None, None, None] * unit_filters(conv)
    made = Convolution(book, weight, numbers(conv.bias))
    return lambda a, context: made(a)


@exact(BatchNorm)
def _batch_norm(norm: BatchNorm, book: Book) -> Net:
    moments = norm.moments
    scale = 1 / np.sqrt(numbers(squared_scale(moments.mean, moments.variance)))
    shift = numbers(norm.shift) - numbers(moments.mean) * scale
    book.note("batch norm", scale, shift)
    by = torch.from_numpy(scale * STEP)[:, None, None]
    added = torch.from_numpy(shift)[:, None, None]
    return lambda a, context: a * by + added


@exact(SignPairs)
def _pairs(entry: SignPairs, book: Book) -> Net:
    norm = net_of(entry.norm, book)

    def run(a: Tensor, context: Tensor | None) -> Tensor:
        r = norm(a, None)
        return torch.cat([r, -r], 1)

    return run


@exact(MaskedSignPairs)
def _masked_pairs(entry: MaskedSignPairs, book: Book) -> Net:
    norm, mask = net_of(entry.norm, book), torch.from_numpy(numbers(entry.mask))

    def run(a: Tensor, context: Tensor | None) -> Tensor:
        r = 2 * norm(a, None)
        return torch.cat([r, -r, mask.expand(len(a), -1, -1, -1)], 1)

    return run


@exact(ResidualBlock)
def _block(block: ResidualBlock, book: Book) -> Net:
    parts = block.first_norm, block.first, block.second_norm, block.second
    first_norm, first, second_norm, second = (net_of(part, book) for part in parts)

    def run(a: Tensor, context: Tensor | None) -> Tensor:
        h = activations(first(rectified(first_norm(a, None)), None))
        return a * STEP + second(rectified(second_norm(h, None)), None)

    return run


@exact(ResidualNet)
def _residual(net: ResidualNet, book: Book) -> Net:
    entry, first = net_of(net.entry, book), net_of(net.first, book)
    blocks = [net_of(block, book) for block in net.blocks]
    skips = [net_of(skip, book) for skip in net.skips]
    norm, last = net_of(net.norm, book), net_of(net.last, book)

    def run(a: Tensor, context: Tensor | None) -> Tensor:
        h = activations(first(rectified(entry(a, None)), None))
        total = skips[0](h, None)
        for block, skip in zip(blocks, skips[1:], strict=True):
            h = activations(block(h, None))
            total = total + skip(h, None)
        return last(rectified(norm(activations(total), None)), None)

    return run
