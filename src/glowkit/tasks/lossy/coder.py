"""LossyCodec: the closed loop on whole numbers, which is the same on every machine.

The flow is that of lossless coding, a bijection of whole numbers, but for its remainders: they are
neither kept nor given back, and each scaling begins at the middle of what it would have been given.
Both directions then undo each other to about a step of the grid, 2^-20, and are exact functions
of their inputs: the mean and the deviation that a latent is decoded with are those that it was
coded with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glowkit.core import Density, GlowkitError
from glowkit.densities import Dequantize
from glowkit.densities.context import context_sizes
from glowkit.tasks.coding.codec import compiling
from glowkit.tasks.coding.functions import Integers, Reals, rounded
from glowkit.tasks.coding.grid import Book, Grid
from glowkit.tasks.coding.leaves import (
    After,
    Given,
    IntegerDensity,
    Parted,
    Standard,
    Whitened,
    density_of,
)
from glowkit.tasks.coding.stack import Stack, Table, Unfit
from glowkit.tasks.lossy.quantise import check_lossy
from glowkit.tasks.lossy.symbols import Coded

UNIT_BITS = 20
"""Of the grid, on which 1 is at least so many binary digits long."""

OVERFLOWS = (
    "the flow overflows on these images at this step; fine-tune the model with glowkit lossy train,"
    " or give a smaller step"
)

Latents = Callable[[Reals, Reals, int, Integers | None], Integers]
"""From a mean, ln of a deviation, how many images, and z on the grid where it is known, to whole
steps, (N, ...)."""


class Middle:
    """A coder that holds nothing: of each size the middle is popped, and what is pushed is lost."""

    def encode(self, symbols: NDArray[np.int32], sizes: NDArray[np.int32] | Table) -> None:
        return

    def decode(self, sizes: NDArray[np.int32] | Table, count: int) -> NDArray[np.int32]:
        assert not isinstance(sizes, Table)
        return sizes // 2

    def bits(self) -> int:
        return 0

    def place(self) -> tuple[int, int]:
        return 0, 0

    def words(self) -> NDArray[np.uint32]:
        return np.zeros(0, np.uint32)

    def copy(self) -> "Middle":
        return self


@dataclass(frozen=True)
class LossyCodec:
    """A model compiled for coding with loss.

    Make one by `LossyCodec.compile`. `identity` is that of its coefficients: 16 bytes. Steps are in
    the units of latents. Images are integers (N, C, H, W); the context is (N,) labels or (N, F)
    steps of 2^-14.
    """

    shape: tuple[int, ...]
    levels: int
    classes: int
    features: int
    identity: bytes
    grid: Grid
    density: IntegerDensity

    @classmethod
    def compile(cls, model: Density) -> "LossyCodec":
        """The codec of a model of images.

        Raises:
            GlowkitError: for a model whose latents have no mean and deviation, or a layer without
                an exact form.
        """
        check_lossy(model)
        assert isinstance(model, Dequantize)
        bits = max(1, UNIT_BITS + 1 - model.levels.bit_length())
        grid, book = Grid(model.levels << bits), Book()
        book.note("lossy images", model.shape, [model.levels, bits])
        with compiling():
            density = density_of(model.density, grid, book)
        classes, features = context_sizes(model)
        identity = book.digest.digest()[:16]
        return cls(tuple(model.shape), model.levels, classes, features, identity, grid, density)

    @property
    def size(self) -> int:
        """Numbers in an image."""
        return prod(self.shape)

    @property
    def _level(self) -> int:
        """A pixel level on the grid; an even number."""
        return self.grid.unit // self.levels

    def code(
        self, images: Integers, step: float, context: Integers | None = None
    ) -> tuple[list[Coded], Integers]:
        """Latents in the order they are decoded, and the images that `decoded` makes of them.

        Cost: an exact evaluation of the flow, and one of its inverse, in float64 on the CPU.

        Raises:
            GlowkitError: where the flow overflows.
        """
        coded, values = self.code_values(self.values(images), step, context)
        return coded, self.pixels(values)

    def code_values(
        self, values: Integers, step: float, context: Integers | None = None
    ) -> tuple[list[Coded], Integers]:
        """The same from and to values on the grid, of which images have whole pixels."""
        coded: list[Coded] = []

        def latents(mean: Reals, log_std: Reals, n: int, z: Integers | None) -> Integers:
            assert z is not None
            steps = rounded((z / self.grid.unit - mean) / step)
            if not float(np.abs(steps).max(initial=0.0)) < 2.0**52:
                raise Unfit
            coded.append(Coded(steps.astype(np.int64), log_std))
            return coded[-1].steps

        return coded, self._through(len(values), latents, step, values, context)

    def values(self, images: Integers) -> Integers:
        """The middles of pixels on the grid."""
        return images.astype(np.int64) * self._level + self._level // 2

    def pixels(self, values: Integers) -> Integers:
        """The pixels that values on the grid are decoded to."""
        return np.clip(np.floor_divide(values, self._level), 0, self.levels - 1)

    def nearest(self, images: Integers, values: Integers) -> Integers:
        """Of all values that are decoded to these images, those nearest to the given ones.

        A pixel of the lowest level is that of everything below too, and so is one of the highest.
        """
        low = images * self._level
        lowest = np.where(images == 0, np.minimum(values, low), low)
        highest = low + self._level - 1
        highest = np.where(images == self.levels - 1, np.maximum(values, highest), highest)
        return np.clip(values, lowest, highest)

    def decoded(
        self,
        n: int,
        step: float,
        pop: Callable[[tuple[int, ...], Reals], Integers],
        context: Integers | None = None,
    ) -> Integers:
        """n images, whose latents `pop` gives by their shape and ln σ.

        Raises:
            GlowkitError: where the flow overflows.
        """

        def latents(mean: Reals, log_std: Reals, n: int, z: Integers | None) -> Integers:
            return pop((n, *mean.shape[1:]), log_std)

        return self.pixels(self._through(n, latents, step, None, context))

    @torch.no_grad()
    def _through(
        self, n: int, latents: Latents, step: float, x: Integers | None, context: Integers | None
    ) -> Integers:
        given = None if context is None else torch.from_numpy(context.astype(np.float64))
        loop = _Loop(self.grid, n, latents, step)
        try:
            return loop.through(self.density, x, given)
        except Unfit:
            raise GlowkitError(OVERFLOWS) from None


class _Loop:
    """One pass: down to the deepest latent with x, where it is known, and back as it is decoded."""

    def __init__(self, grid: Grid, n: int, latents: Latents, step: float) -> None:
        self.grid, self.n, self.latents, self.step = grid, n, latents, step
        self.stack = Stack(Middle())

    def through(
        self, density: IntegerDensity, x: Integers | None, given: Tensor | None
    ) -> Integers:
        """What a decoder finds in the place of x."""
        if isinstance(density, After):
            y = None if x is None else density.first.forward(self.stack, x, given)
            return density.first.inverse(self.stack, self.through(density.density, y, given), given)
        if isinstance(density, Parted):
            kept = density.kept
            x1 = self.through(density.deeper, None if x is None else x[:, :kept], given)
            x2 = None if x is None else x[:, kept:]
            return np.concatenate([x1, self.through(density.prior, x2, density.sees(x1, given))], 1)
        if isinstance(density, Given):
            assert given is not None
            return self.through(density.density, x, density.make(given))
        if isinstance(density, Whitened):
            return self._latent(*density.parameters(given), x)
        assert isinstance(density, Standard)
        zeros: Reals = np.zeros((1, *density.shape))
        return self._latent(zeros, zeros, x)

    def _latent(self, mean: Reals, log_std: Reals, z: Integers | None) -> Integers:
        steps = self.latents(mean, log_std, self.n, z)
        return self.grid.integers(mean + self.step * steps)
