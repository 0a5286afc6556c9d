"""Glow's top prior: a learned normal, the same for every image or one for each class."""

from collections.abc import Sequence

from torch import Tensor

from glowkit.core import Density, Generator, GlowkitError, NoiseSpec
from glowkit.core.inputs import check_shape
from glowkit.densities.normal import normal_decode, normal_encode
from glowkit.nets import ZeroConv2d, ZeroLinear


class TopPrior(Density):
    """N(m, s²) with (m, ln s) learned; contiguous halves of border(0) + embedding(context).

    `border`, a zero convolution over a map of zeros, gives one mean and deviation for each
    channel that differ at the borders and corners only (openai/glow's `learn_top`; its weights on
    the zero inputs stay zero for ever, and are kept so that parameter counts agree).
    `embedding` adds a term for each context vector, broadcast over space (`ycond`). Without
    either, use `StandardNormal`. Shapes: x (N, C, H, W), context (N, features). Source: openai/glow
    `prior`.

    Raises:
        GlowkitError: without a context when there is an embedding.
    """

    def __init__(
        self, shape: Sequence[int], border: ZeroConv2d | None, embedding: ZeroLinear | None
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.border = border
        self.embedding = embedding

    def _mean_and_log_std(self, context: Tensor | None) -> tuple[Tensor, Tensor]:
        channels, height, width = self.shape
        h = self.anchor.new_zeros(1, 2 * channels, height, width)
        if self.border is not None:
            h = self.border(h)
        if self.embedding is not None:
            if context is None:
                raise GlowkitError("this model is conditional: give a context with every example")
            h = h + self.embedding(context)[:, :, None, None]
        mean, log_std = h.chunk(2, dim=1)
        return mean, log_std

    @property
    def reads_context(self) -> bool:
        return self.embedding is not None

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        check_shape(x, self.shape)
        eps, log_p = normal_encode(x, *self._mean_and_log_std(context))
        return [eps], log_p

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        (eps,) = noises
        return normal_decode(eps, *self._mean_and_log_std(context))

    def noise_specs(self) -> list[NoiseSpec]:
        return [NoiseSpec(self.shape)]


class Classified(Density):
    """A prior with a classifier head that reads the class off its latent, averaged over space.

    The density is the prior's own. `class_logits` serves Glow's auxiliary loss. Source: openai/glow
    `model.model`, `weight_y`.
    """

    def __init__(self, prior: Density, head: ZeroLinear) -> None:
        super().__init__()
        self.prior = prior
        self.head = head

    @property
    def reads_context(self) -> bool:
        return self.prior.reads_context

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        return self.prior.encode(x, context, generator)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.prior.decode(noises, context)

    def noise_specs(self) -> list[NoiseSpec]:
        return self.prior.noise_specs()

    def class_logits(self, noises: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        """Logits of the classes, (N, classes), from this prior's own noises."""
        x, _ = self.prior.decode(noises, context)
        return self.head(x.flatten(2).mean(2))
