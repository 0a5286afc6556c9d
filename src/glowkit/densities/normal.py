"""Normal and logistic priors without parameters."""

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from glowkit.core import Density, Generator, NoiseSpec, nan_where_broken, sum_per_example
from glowkit.core.inputs import check_shape

LOG_2PI = math.log(2 * math.pi)


class StandardNormal(Density):
    """Independent N(0, 1) in every dimension: log p = −½ Σ (x² + ln 2π). The noise is x itself.

    Shapes: (N, *shape).

    >>> import torch
    >>> StandardNormal((2,)).log_prob(torch.zeros(1, 2)).item()
    -1.83787...
    """

    reads_context = False

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        check_shape(x, self.shape)
        return [x], -0.5 * sum_per_example(x.square() + LOG_2PI)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        (x,) = noises
        return x, -0.5 * sum_per_example(x.square() + LOG_2PI)

    def noise_specs(self) -> list[NoiseSpec]:
        return [NoiseSpec(self.shape)]


class StandardLogistic(Density):
    """Independent standard logistic dimensions: log p = −Σ [sp(x) + sp(−x)], sp the softplus.

    The noise is x itself, and logistic. Shapes: (N, *shape). Source: NICE, section 3.4.
    """

    reads_context = False

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        check_shape(x, self.shape)
        return [x], -sum_per_example(F.softplus(x) + F.softplus(-x))

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        (x,) = noises
        return x, -sum_per_example(F.softplus(x) + F.softplus(-x))

    def noise_specs(self) -> list[NoiseSpec]:
        return [NoiseSpec(self.shape, "logistic")]


def normal_encode(x: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
    """Whiten x under N(mean, exp(log_std)²): eps = (x − mean) · exp(−log_std), and log p (N,)."""
    eps = (x - mean) * (-log_std).exp()
    return eps, -0.5 * sum_per_example(eps.square() + LOG_2PI + 2 * log_std)


def normal_decode(eps: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
    """Undo `normal_encode`: x = mean + exp(log_std) · eps, and log p(x), (N,)."""
    log_p = -0.5 * sum_per_example(eps.square() + LOG_2PI + 2 * log_std)
    x = mean + log_std.exp() * eps
    return x, nan_where_broken(x, log_p)
