"""Ordinal: the exact probability of images of integers, pixel by pixel."""

import copy
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.core import Density, Generator, GlowkitError, NoiseSpec, sum_per_example
from glowkit.core.checking import check_context, check_generator, check_noises
from glowkit.core.choice import FLOOR, MOST_CHOICES, choice_decode, choice_encode, floored
from glowkit.core.freezing import made_once
from glowkit.core.noise import OfEach, Portion
from glowkit.densities.dequantize import check_images
from glowkit.nets.causal import CausalNet

SMALLEST_LOG_SCALE = -7.0
FEATURES = 3
"""Numbers that tell the network a value: itself, centred, and whether it is the first or last."""

_HELD = 2**22
"""Probabilities held at a time where noise is made, all levels of every value of some images."""


class Ordinal(Density):
    """Integers 0..n−1, each given those before it: a mixture of logistics cut at the bins' edges.

    ln P(x) = Σ ln P(x_i | x_<i), exactly: nothing is dequantized and nothing is bounded. With
    c = (2v + 1)/n − 1 and a mixture (π, μ, s), P(v) = Σ_k π_k [σ((c + 1/n − μ_k)/s_k) −
    σ((c − 1/n − μ_k)/s_k)], the first bin open below and the last above; ln s ≥ −7; then mixed with
    a floor, see `glowkit.core.choice`. The difference is computed as the product
    σ(z + w) σ(w − z) (1 − e^{−2w}), where z = (c − μ)/s and w = 1/(n s), in which nothing cancels.

    Values go in tokens, patches of p x p pixels in raster order and all channels; inside a token in
    the order of `torch.nn.functional.pixel_unshuffle`. One pass of the network gives the log P of
    all values; `decode` goes token by token, value by value, through the network's kept keys and
    values.

    The noise is one logistic number a value, of the image's shape: the value as a choice among n
    (`choice_encode`), whose only randomness is where in its interval it lies; with `MIDPOINT` in
    the middle. Rounding in a network differs between one pass and many steps, would move the edges
    of these intervals, and one wrong value changes all that follow. So `encode` and `decode`
    evaluate a copy of the network in float64, without dropout, and `log_prob`, which makes no
    noise, the network itself.

    Shapes: (N, C, H, W) integers; decoded images are uint8. Cost: `log_prob` one pass; `encode` one
    more in float64, and n numbers for every value; `decode` as many steps of one token as there are
    tokens. Source: Salimans et al. 2017 (PixelCNN++), section 2.1, without its conditioning of
    channels, which the network's head does.

    Args:
        shape: C, H, W of an image.
        levels: n, from 2 to 256.
        net: of tokens of C·p·p values with `FEATURES` features each; all of its weights may be
            fresh. It must have a head inside tokens, unless a token is one value.
        components: K of the mixture.

    Raises:
        GlowkitError: for levels out of range, values outside 0..n−1, or a wrong shape.

    >>> net = CausalNet(4, 4, 3 * 2, width=8, layers=1, heads=1, inner=4, features=FEATURES)
    >>> model = Ordinal((1, 4, 4), 17, net, components=2)
    >>> images = torch.randint(17, (2, 1, 4, 4))
    >>> noises, log_p = model.encode(images)
    >>> torch.equal(model.decode(noises)[0], images.to(torch.uint8))
    True
    """

    shape: tuple[int, ...]
    levels: int

    def __init__(
        self, shape: Sequence[int], levels: int, net: CausalNet, components: int = 5
    ) -> None:
        super().__init__()
        if type(levels) is bool or levels not in range(2, MOST_CHOICES + 1):
            raise GlowkitError(
                f"pixel_levels is {levels!r}; an ordinal model takes from 2 to {MOST_CHOICES}: use"
                " another family, or fewer levels"
            )
        self.shape = tuple(shape)
        self.levels = levels
        self.net = net
        self.components = components
        self.patch = math.isqrt(net.dimensions // shape[0])
        tokens = (shape[1] // self.patch) * (shape[2] // self.patch)
        if (net.dimensions, net.tokens) != (shape[0] * self.patch**2, tokens):
            raise ValueError(f"{net.tokens} tokens of {net.dimensions} do not make {self.shape}")
        if net.features != FEATURES or net.outputs_each != 3 * components:
            raise ValueError(f"the network must have {FEATURES} features, {3 * components} outputs")
        if not net.inner and net.dimensions > 1:
            raise ValueError("the values of a token are not independent: the network needs inner")
        means = torch.linspace(-1, 1, components) if components > 1 else torch.zeros(1)
        net.begin_with(torch.cat([torch.zeros(components), means, -torch.ones(components)]))

    @property
    def reads_context(self) -> bool:
        return self.net.reads_context

    def log_prob(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> Tensor:
        """log P(x | context) in nats, shape (N,), exact, and without making the noise."""
        check_images(x, self.shape, self.levels, self.anchor)
        check_context(self, context)
        values = self._tokens(x.to(self.anchor.dtype))
        h = self._heads(self.net, values, context)
        return sum_per_example(self._log_p(values, h))

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        check_generator(generator)
        log_p = self.log_prob(x, context)
        parts = []
        with torch.no_grad():
            for rows, source in self._parts(len(x), generator):
                values = self._tokens(x[rows].double())
                h = self._heads(
                    self._exact(), values, None if context is None else context[rows].double()
                )
                every = self._log_p_of_all(h).to(self.anchor.dtype)
                parts.append(choice_encode(values.long(), every, source))
        return [self._image(torch.cat(parts))], log_p

    @torch.no_grad()
    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        check_noises(noises, self.noise_specs(), self.anchor)
        check_context(self, context)
        noise, net = self._tokens(noises[0]), self._exact()
        state = net.start(len(noise), None if context is None else context.double())
        tokens = []
        for of_token in noise.unbind(1):
            token = of_token.new_zeros(len(noise), 0, dtype=torch.float64)
            for one in of_token.unbind(1):
                h = net.outputs(state, self._features(token))
                every = self._log_p_of_all(h.squeeze(1)).to(self.anchor.dtype)
                token = torch.cat([token, choice_decode(one, every)[:, None].double()], 1)
            state = net.step(state, self._features(token))
            tokens.append(token)
        x = self._image(torch.stack(tokens, 1)).to(torch.uint8)
        log_p = self.log_prob(x, context)
        return x, torch.where(noise.isnan().flatten(1).any(1), torch.nan, log_p)

    def noise_specs(self) -> list[NoiseSpec]:
        return [NoiseSpec(self.shape, "logistic")]

    @made_once
    def _exact(self) -> CausalNet:
        return copy.deepcopy(self.net).double().eval()

    def _heads(self, net: CausalNet, values: Tensor, context: Tensor | None) -> Tensor:
        """Of the mixture of every value, (N, T, d, 3K)."""
        h = net(self._features(values).transpose(1, 2), context).transpose(1, 2)
        return h.reshape(*values.shape, 3 * self.components)

    def _features(self, values: Tensor) -> Tensor:
        """What the network sees of values (..., d): (..., d·FEATURES)."""
        ends = [(values == end).to(values.dtype) for end in (0, self.levels - 1)]
        return torch.stack([self._centre(values), *ends], -1).flatten(-2)

    def _centre(self, values: Tensor) -> Tensor:
        return (2 * values + 1) / self.levels - 1

    def _log_p(self, values: Tensor, h: Tensor) -> Tensor:
        """ln P of every value, in their shape, from parameters (..., 3K)."""
        weights, means, rate = _mixture(h)
        at = values.unsqueeze(-1)
        z, w = (self._centre(at) - means) * rate, rate / self.levels
        first, last = at == 0, at == self.levels - 1
        below = torch.where(last, 1.0, (z + w).sigmoid())
        above = torch.where(first, 1.0, (w - z).sigmoid())
        between = torch.where(first | last, 1.0, -torch.expm1(-2 * w))
        p = (weights * below * above * between).sum(-1)
        return ((1 - FLOOR) * p + FLOOR / self.levels).log()

    def _log_p_of_all(self, h: Tensor) -> Tensor:
        """ln P of every level, (..., n), from parameters (..., 3K), in float64.

        Differences of the distribution function at the edges, far more exact than the floor.
        """
        weights, means, rate = _mixture(h)
        edges = torch.arange(1, self.levels, dtype=h.dtype, device=h.device) * 2 / self.levels - 1
        z = (edges[:, None] - means.unsqueeze(-2)) * rate.unsqueeze(-2)
        below = (z.sigmoid() @ weights.unsqueeze(-1)).squeeze(-1)
        p = F.pad(below, (0, 1), value=1.0) - F.pad(below, (1, 0))
        return floored(p.clamp_min(torch.finfo(p.dtype).tiny).log())

    def _tokens(self, images: Tensor) -> Tensor:
        """(N, C, H, W) as tokens (N, T, d)."""
        return F.pixel_unshuffle(images, self.patch).flatten(2).transpose(1, 2)

    def _image(self, tokens: Tensor) -> Tensor:
        rows, columns = (side // self.patch for side in self.shape[1:])
        grid = tokens.transpose(1, 2).unflatten(2, (rows, columns))
        return F.pixel_shuffle(grid, self.patch)

    def _parts(self, n: int, generator: Generator) -> Iterator[tuple[slice, Generator]]:
        """Slices of a batch, and where each has its randomness from: in turn, or of each example.

        A `Portion` draws for a whole batch, so that one is not cut.
        """
        most = max(1, _HELD // (math.prod(self.shape) * self.levels))
        size = n if isinstance(generator, Portion) else most
        for begin in range(0, n, size):
            rows = slice(begin, begin + size)
            if isinstance(generator, OfEach):
                yield rows, OfEach(generator.generators[rows])
            else:
                yield rows, generator

    def extra_repr(self) -> str:
        return f"{self.levels} levels, {self.components} components, patches of {self.patch}"


def _mixture(h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and rates 1/s, (..., K) each, from parameters (..., 3K)."""
    logits, means, log_scales = h.chunk(3, -1)
    return logits.softmax(-1), means, (-log_scales.clamp_min(SMALLEST_LOG_SCALE)).exp()
