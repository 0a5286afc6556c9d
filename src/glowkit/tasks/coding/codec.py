"""Codec: a model of images as an exact bijection between images and bits on a stack."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glowkit.bijections import LogisticMixture, Logit, RationalQuadraticSpline
from glowkit.core import Density, GlowkitError
from glowkit.densities import Augmented, Dequantize, Ordinal, Uniform, noise_of
from glowkit.densities.context import context_sizes
from glowkit.tasks.coding.functions import Integers, rounded
from glowkit.tasks.coding.grid import FRACTION, Book, Grid
from glowkit.tasks.coding.leaves import IntegerDensity, density_of
from glowkit.tasks.coding.stack import Stack, Unfit

LEAST_BITS, MOST_BITS = 2, 16
STRAIGHT, CURVED = 6, 10
"""Dequantization bits by default: of models whose maps are straight, and of those with curves."""

NOISE_BITS = 20
"""Of learned dequantization noise, of which the first are u and the rest goes back at once."""

PARTS = 8
"""In how many parts a tensor is scaled, so that one part pays for the next."""


@contextmanager
def compiling() -> Iterator[None]:
    """Within, coefficients are made whole numbers. GlowkitError for what is too large for them."""
    try:
        with torch.no_grad():
            yield
    except Unfit:
        raise GlowkitError(
            "this model scales or shifts by millions, or by what is no number, and cannot compress;"
            " train it longer, or with a lower learning rate"
        ) from None


@dataclass(frozen=True)
class Codec:
    """A model compiled for coding: its coefficients as whole numbers.

    Encoding pops dequantization noise from a stack and pushes the flow's noises: net, −log₂ of the
    model's bound on P(image). Decoding undoes that to the last bit. Nothing in it depends on the
    machine, the number of threads, or how images are batched but for their number in a batch.

    Make one by `Codec.compile`. `identity` is that of its coefficients: 16 bytes.

    >>> from glowkit.densities import StandardNormal
    >>> model = Dequantize(Uniform((1, 2, 2)), StandardNormal((1, 2, 2)), levels=4)
    >>> stack, images = Stack(), np.array([[[[0, 1], [2, 3]]]])
    >>> stack.push(np.zeros(32, np.int64), np.full(32, 1000))  # bits to begin with
    >>> codec, before = Codec.compile(model), stack.place()
    >>> codec.encode(stack, images)
    >>> codec.decode(stack, 1).tolist(), stack.place() == before
    ([[[[0, 1], [2, 3]]]], True)
    """

    shape: tuple[int, ...]
    levels: int
    bits: int
    classes: int
    features: int
    identity: bytes
    noise: IntegerDensity | None
    density: IntegerDensity

    @classmethod
    def compile(cls, model: Density, bits: int | None = None) -> "Codec":
        """The codec of a model of images.

        Source: Zhang et al. 2021 (iFlow), section 3, for the scalings; Ho et al. 2019, section 3,
        for bits back; the exact networks are after Ballé et al. 2019.

        Args:
            model: a `Dequantize` made of glowkit's own layers.
            bits: of dequantization noise, 2 to 16; by default 6 for affine and additive couplings
                and 10 for curves, where fewer would lose something.

        Raises:
            GlowkitError: for a model of points, channels that are added, a layer without an exact
                form, bits out of range.
        """
        if any(isinstance(part, Ordinal) for part in model.modules()):
            raise GlowkitError(
                "an autoregressive model with an ordinal head has no exact form in whole numbers"
                " yet, without which files would not decode alike on every machine; compress with"
                " another family, such as Glow"
            )
        if noise_of(model):
            raise GlowkitError(
                "log p of this model is of images with noise, which is no probability of whole"
                " numbers to compress by; use a model that dequantizes"
            )
        if not isinstance(model, Dequantize) or len(model.shape) != 3:
            raise GlowkitError(
                "only a model of images, whole numbers, can compress; this one is of continuous"
                " values, such as points"
            )
        if any(isinstance(part, Augmented) for part in model.modules()):
            raise GlowkitError(
                "a model that adds channels of noise to an image cannot compress yet: getting the"
                " bits of those channels back is not written; compress with a model that adds none,"
                " such as Glow without augmented_channels"
            )
        if bits is None:
            curves = (LogisticMixture, RationalQuadraticSpline, Logit)
            curved = any(isinstance(part, curves) for part in model.modules())
            bits = CURVED if curved else STRAIGHT
        if type(bits) is not int or not LEAST_BITS <= bits <= MOST_BITS:
            raise GlowkitError(
                f"bits is {bits!r}; dequantization takes {LEAST_BITS} to {MOST_BITS} bits a pixel"
            )
        book = Book()
        book.note("images", model.shape, [model.levels, bits])
        noise = None
        with compiling():
            density = density_of(model.density, Grid(model.levels << bits), book)
            if type(model.noise) is not Uniform:
                noise = density_of(model.noise, Grid(1 << NOISE_BITS), book)
        classes, features = context_sizes(model)
        identity = book.digest.digest()[:16]
        shape = tuple(model.shape)
        return cls(shape, model.levels, bits, classes, features, identity, noise, density)

    @property
    def size(self) -> int:
        """Numbers in an image."""
        return math.prod(self.shape)

    @torch.no_grad()
    def encode(self, stack: Stack, images: Integers, context: Integers | None = None) -> None:
        """Push images, (N, C, H, W), whose context is (N,) labels or (N, F) steps of 2^-14.

        Raises:
            Unfit: where they do not fit the range of the integers used, or a careful stack has too
                few bits; the stack is then to be thrown away.
        """
        given = _given(context)
        stack.chunk = max(1, images.size // PARTS)
        x = images.astype(np.int64) << self.bits
        if self.noise is None:
            u = stack.pop(np.full(images.shape, 1 << self.bits))
        else:
            fine = self.noise.decode(stack, len(images), self._seen(images))
            u, rest = fine >> self._spare, fine & ((1 << self._spare) - 1)
            if not 0 <= int(u.min()) <= int(u.max()) < 1 << self.bits:
                raise Unfit
            stack.push(rest, np.full(rest.shape, 1 << self._spare))
        self.density.encode(stack, x + u, given)

    @torch.no_grad()
    def decode(self, stack: Stack, n: int, context: Integers | None = None) -> Integers:
        """Pop n images that were pushed together."""
        given = _given(context)
        stack.chunk = max(1, n * self.size // PARTS)
        x = self.density.decode(stack, n, given)
        images, u = x >> self.bits, x & ((1 << self.bits) - 1)
        if self.noise is None:
            stack.push(u, np.full(u.shape, 1 << self.bits))
        else:
            rest = stack.pop(np.full(u.shape, 1 << self._spare))
            self.noise.encode(stack, (u << self._spare) + rest, self._seen(images))
        return images

    @property
    def _spare(self) -> int:
        return NOISE_BITS - self.bits

    def _seen(self, images: Integers) -> Tensor:
        """The images as the noise's networks see them, scaled to [−½, ½), in activations."""
        return torch.from_numpy(rounded((images / self.levels - 0.5) * 2.0**FRACTION))


def _given(context: Integers | None) -> Tensor | None:
    return None if context is None else torch.from_numpy(context.astype(np.float64))
