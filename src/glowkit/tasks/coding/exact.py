"""Networks that give the same bits on every machine, in any batch and on any number of threads.

A network maps activations, whole numbers in steps of 2^-14, to reals. Weights are rounded to 2^-18
and biases to 2^-32, and everything is held in float64: products and partial sums are whole numbers
below 2^53, so that a convolution is exact in whatever order its terms are added. What follows is
made of single IEEE operations (`functions`), and rounded to activations again. From the network
that was trained it departs by about 1e-4. Cf. Ballé et al., ICLR 2019.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glowkit.nets import (
    MLP,
    GlowNet,
    HalfSizeNet,
    Preactivation,
    ZeroConv2d,
    ZeroLinear,
)
from glowkit.nets.glow import LOG_SCALE_FACTOR, ActnormConv2d
from glowkit.tasks.coding.functions import Reals, exp, rounded
from glowkit.tasks.coding.grid import FRACTION, Book, no_form, numbers
from glowkit.tasks.coding.stack import Unfit

WEIGHT = 18
"""Bits after the point of weights."""

STEP = 2.0**-FRACTION
EXACT = 2.0**53

Net = Callable[[Tensor, Tensor | None], Tensor]
"""Activations and the context's activations to reals."""

NETS: dict[type[nn.Module], Callable[[Any, Book], Net]] = {}
Maker = TypeVar("Maker", bound=Callable[[Any, Book], Net])


def exact(*kinds: type[nn.Module]) -> Callable[[Maker], Maker]:
    """Register what makes the exact form of modules of exactly these classes."""

    def register(make: Maker) -> Maker:
        NETS.update(dict.fromkeys(kinds, make))
        return make

    return register


def net_of(module: nn.Module, book: Book) -> Net:
    """The exact form of a network. Raises GlowkitError for a class that has none."""
    if type(module) not in NETS:
        raise no_form(module)
    return NETS[type(module)](module, book)


def activations(x: Tensor) -> Tensor:
    """Reals, rounded to activations."""
    return torch.floor(x * 2.0**FRACTION + 0.5)


def rectified(x: Tensor) -> Tensor:
    """ReLU of reals, as activations."""
    return activations(x).clamp_min_(0)


class Convolution:
    """W * a + b with zero padding, or W a + b of vectors; exact, as reals.

    Args:
        edge: (C_out, 3, 3), the kernel over a channel that is 1 on the padding ring, or None.
    """

    def __init__(self, book: Book, weight: Reals, bias: Reals, edge: Reals | None = None) -> None:
        w, b = rounded(weight * 2.0**WEIGHT), rounded(bias * 2.0 ** (WEIGHT + FRACTION))
        book.note("convolution", w, b)
        self.weight, self.bias = torch.from_numpy(w), torch.from_numpy(b)
        self.reach = float(np.abs(w).reshape(len(w), -1).sum(1).max(initial=0))
        self.shift = float(np.abs(b).max(initial=0))
        self.edge: Tensor | None = None
        if edge is not None:
            e = rounded(edge * 2.0 ** (WEIGHT + FRACTION))
            book.note("edge", e)
            self.edge = torch.from_numpy(e)
            self.shift += 9 * float(np.abs(e).max(initial=0))
        self.added: dict[tuple[int, ...], Tensor] = {}

    def __call__(self, a: Tensor) -> Tensor:
        """a (N, C, H, W) or (N, C); raises Unfit where sums would not be exact."""
        largest = float(a.abs().max()) if a.numel() else 0.0
        if not self.reach * largest + self.shift < EXACT:
            raise Unfit
        if a.dim() == 2:
            y = F.linear(a, self.weight, self.bias)
        else:
            size = tuple(a.shape[2:])
            if size not in self.added:
                self.added[size] = self._added(*size)
            y = F.conv2d(a, self.weight, padding=self.weight.shape[-1] // 2)
            y += self.added[size]
        return y.mul_(2.0 ** -(WEIGHT + FRACTION))

    def _added(self, height: int, width: int) -> Tensor:
        shift = self.bias[:, None, None]
        if self.edge is None:
            return shift
        ring = torch.zeros(1, 1, height, width, dtype=torch.float64)
        ring = F.pad(ring, (1, 1, 1, 1), value=1.0)
        return F.conv2d(ring, self.edge[:, None])[0] + shift


@exact(ZeroConv2d, ActnormConv2d)
def _scaled(layer: ZeroConv2d | ActnormConv2d, book: Book) -> Net:
    scale = exp(LOG_SCALE_FACTOR * numbers(layer.logs))
    edge = None if layer.edge is None else numbers(layer.edge) * scale[:, None, None]
    weight = numbers(layer.weight) * scale[:, None, None, None]
    conv = Convolution(book, weight, numbers(layer.bias) * scale, edge)
    return lambda a, context: conv(a)


@exact(ZeroLinear)
def _linear(layer: ZeroLinear, book: Book) -> Net:
    scale = exp(LOG_SCALE_FACTOR * numbers(layer.logs))
    conv = Convolution(book, numbers(layer.weight) * scale[:, None], numbers(layer.bias) * scale)
    return lambda a, context: conv(a)


@exact(Preactivation)
def _preactivation(layer: Preactivation, book: Book) -> Net:
    scale, bias = (numbers(part)[:, None, None] for part in (layer.scale, layer.bias))
    book.note("preactivation", scale, bias)
    s, b = torch.from_numpy(scale * STEP), torch.from_numpy(bias)
    return lambda a, context: (a * s + b).clamp_min_(0)


@exact(nn.Identity)
def _identity(layer: nn.Identity, book: Book) -> Net:
    return lambda a, context: a * STEP


@exact(nn.Sequential)
def _sequence(layers: nn.Sequential, book: Book) -> Net:
    first, *rest = (net_of(layer, book) for layer in layers)

    def run(a: Tensor, context: Tensor | None) -> Tensor:
        y = first(a, context)
        for net in rest:
            y = net(activations(y), context)
        return y

    return run


@exact(GlowNet)
def _glow(net: GlowNet, book: Book) -> Net:
    entry = None if type(net.entry) is nn.Identity else net_of(net.entry, book)
    first, second, last = (net_of(part, book) for part in (net.first, net.second, net.last))
    seen = None
    if net.context is not None:
        weight = numbers(net.context.weight)
        seen = Convolution(book, weight, np.zeros(len(weight)))

    def run(a: Tensor, context: Tensor | None) -> Tensor:
        if entry is not None:
            a = activations(entry(a, None))
        y = first(a, None)
        if seen is not None:
            assert context is not None
            y += seen(context if context.dim() == 4 else context[:, :, None, None])
        return last(rectified(second(rectified(y), None)), None)

    return run


@exact(HalfSizeNet)
def _half_size(net: HalfSizeNet, book: Book) -> Net:
    first, second = net_of(net.first, book), net_of(net.second, book)

    def run(a: Tensor, context: Tensor | None) -> Tensor:
        h = rectified(first(F.pixel_unshuffle(a, 2), None))
        return second(h, None).clamp_min_(0)

    return run


@exact(MLP)
def _mlp(net: MLP, book: Book) -> Net:
    linear = [layer for layer in net.layers if isinstance(layer, nn.Linear)]
    layers = [Convolution(book, numbers(one.weight), numbers(one.bias)) for one in linear]

    def run(a: Tensor, context: Tensor | None) -> Tensor:
        if net.context_features:
            assert context is not None
            a = torch.cat([a, context], 1)
        for layer in layers[:-1]:
            a = rectified(layer(a))
        return layers[-1](a)

    return run
