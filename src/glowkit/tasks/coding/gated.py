"""Flow++'s gated networks with attention, exact; see `exact`.

Sums over channels and positions are of terms that were rounded before: means and attention's
averages are then exact up to one division.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from glowkit.models.flowpp import Paired
from glowkit.nets import (
    ChannelNorm,
    ConcatELU,
    GatedAttention,
    GatedConv,
    GatedNet,
    Positions,
    StandardizedConv2d,
    StandardizedNormedConv2d,
)
from glowkit.tasks.coding.exact import (
    EXACT,
    STEP,
    Convolution,
    Net,
    activations,
    exact,
    net_of,
)
from glowkit.tasks.coding.functions import elu, exp, rounded, sigmoid
from glowkit.tasks.coding.grid import Book, no_form, numbers
from glowkit.tasks.coding.residual import unit_filters
from glowkit.tasks.coding.stack import Unfit

_ATTENTION = 2.0**22
"""Terms of a softmax are rounded to steps of 2^-22."""


def check_sum(largest: Tensor, terms: int) -> None:
    """Raise Unfit where a sum of so many whole numbers might not be exact."""
    if largest.numel() and not float(largest.abs().max()) * terms < EXACT:
        raise Unfit


@exact(StandardizedConv2d)
def _standardized(conv: StandardizedConv2d, book: Book) -> Net:
    made = Convolution(book, numbers(conv.weight), numbers(conv.bias))
    return lambda a, context: made(a)


@exact(StandardizedNormedConv2d)
def _standardized_normed(conv: StandardizedNormedConv2d, book: Book) -> Net:
    weight = numbers(conv.magnitude)[:, None, None, None] * unit_filters(conv)
    made = Convolution(book, weight, numbers(conv.bias))
    return lambda a, context: made(a)


@exact(ConcatELU)
def _concat_elu(layer: ConcatELU, book: Book) -> Net:
    def run(a: Tensor, context: Tensor | None) -> Tensor:
        return torch.from_numpy(elu(torch.cat([a, -a], 1).numpy() * STEP))

    return run


@exact(Positions)
def _positions(layer: Positions, book: Book) -> Net:
    embedding = numbers(layer.embedding)
    book.note("positions", embedding)
    added = torch.from_numpy(embedding)
    return lambda a, context: a * STEP + added


def gated(a: Tensor, y: Tensor) -> Tensor:
    """a + p · σ(q) as reals, where (p, q) are the halves of y's channels."""
    p, q = y.chunk(2, 1)
    return a * STEP + p * torch.from_numpy(sigmoid(q.numpy()))


@exact(GatedConv)
def _conv(layer: GatedConv, book: Book) -> Net:
    parts = layer.activation, layer.first, layer.second
    celu, first, second = (net_of(part, book) for part in parts)
    seen = None if layer.context is None else net_of(layer.context, book)

    def run(a: Tensor, context: Tensor | None) -> Tensor:
        y = first(activations(celu(a, None)), None)
        if seen is not None:
            assert context is not None
            y = y + seen(activations(celu(context, None)), None)
        return gated(a, second(activations(celu(activations(y), None)), None))

    return run


@exact(ChannelNorm)
def _channel_norm(layer: ChannelNorm, book: Book) -> Net:
    return _norm(layer.norm, book)


@exact(nn.LayerNorm)
def _norm(norm: nn.LayerNorm, book: Book) -> Net:
    """Over the channels of each pixel."""
    weight, bias = numbers(norm.weight), numbers(norm.bias)
    book.note("channel norm", weight, bias)
    w, b = (torch.from_numpy(part)[:, None, None] for part in (weight, bias))

    def run(a: Tensor, context: Tensor | None) -> Tensor:
        channels = a.shape[1]
        check_sum(a, channels)
        centred = a - torch.floor(a.sum(1, keepdim=True) / channels + 0.5)
        squares = centred * centred
        check_sum(squares, channels)
        variance = squares.sum(1, keepdim=True) * (STEP * STEP) / channels
        root = torch.from_numpy(np.sqrt((variance + norm.eps).numpy()))
        return centred * STEP / root * w + b

    return run


def attended(qkv: Tensor, heads: int) -> Tensor:
    """softmax(q kᵀ / √d) v as activations, of activations (N, 3C, H, W)."""
    parts = qkv.flatten(2).unflatten(1, (3, heads, -1))
    q, k, v = parts.transpose(3, 4).unbind(1)
    check_sum(q.abs().max() * k.abs().max(), q.shape[-1])
    scores = (q @ k.transpose(-1, -2)) * (STEP * STEP) / math.sqrt(q.shape[-1])
    scores = scores - scores.amax(-1, keepdim=True)
    terms = torch.from_numpy(rounded(exp(scores.numpy()) * _ATTENTION))
    check_sum(v.abs().max() * _ATTENTION, v.shape[-2])
    averages = (terms @ v) / terms.sum(-1, keepdim=True)
    return torch.floor(averages + 0.5).transpose(2, 3).reshape(len(qkv), -1, *qkv.shape[2:])


@exact(GatedAttention)
def _attention(layer: GatedAttention, book: Book) -> Net:
    first, second, heads = net_of(layer.first, book), net_of(layer.second, book), layer.heads
    book.note("heads", [heads])

    def run(a: Tensor, placed: Tensor | None) -> Tensor:
        assert placed is not None
        h = attended(activations(first(placed, None)), heads)
        return gated(a, second(h, None))

    return run


@exact(GatedNet)
def _gated_net(net: GatedNet, book: Book) -> Net:
    entry, head = net_of(net.entry, book), net_of(net.head, book)
    positions = net_of(net.positions, book)
    layers = [(type(layer) is GatedAttention, net_of(layer, book)) for layer in net.layers]

    def run(a: Tensor, context: Tensor | None) -> Tensor:
        h = activations(entry(a, None))
        for attends, layer in layers:
            seen = activations(positions(h, None)) if attends else context
            h = activations(layer(h, seen))
        return head(h, None)

    return run


@exact(Paired)
def _paired(paired: Paired, book: Book) -> Net:
    from glowkit.bijections import Checkerboard, Stripes

    if type(paired.pattern) not in (Stripes, Checkerboard):
        raise no_form(paired.pattern)
    book.note(type(paired.pattern).__name__)
    net = net_of(paired.net, book)
    return lambda a, context: net(paired.pattern(a)[0], context)
