"""Linear maps of the channels: invertible matrices, the 1x1 convolution, and permutations."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glowkit.bijections.normalization import Actnorm
from glowkit.core import Bijection, GlowkitError, pixelwise_ladj
from glowkit.core.bijection import whole
from glowkit.core.freezing import made_once
from glowkit.nets.fast import compiled_parameters
from glowkit.nets.glow import LOG_SCALE_FACTOR
from glowkit.nets.kernels.fold import FoldKernel


def random_rotation(size: int) -> Tensor:
    """A random orthogonal matrix: Q of the QR factorisation of a Gaussian matrix."""
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0]


def noisy_identity(size: int) -> Tensor:
    """I + 0.001 · N(0, 1): almost no mixing at first (aravindsrinivas/flowpp, `Pointwise`)."""
    identity = torch.eye(size, dtype=torch.float64)
    return identity + 0.001 * torch.randn(size, size, dtype=torch.float64)


def log_abs_det(matrix: Tensor) -> Tensor:
    """ln |det W| by LU factors, since a determinant underflows at C = 384. W is (C, C).

    `torch.linalg.slogdet` forgets, where it is differentiated forward, that its factors change too.
    """
    return torch.linalg.lu_factor_ex(matrix).LU.diagonal().abs().log().sum()


class InvertibleMatrix(nn.Module, ABC):
    """A learned invertible matrix. Assembled, inverted and log-det'ed in float64.

    To write one: implement `assign` and `matrix_and_log_det`.
    """

    @abstractmethod
    def matrix_and_log_det(self) -> tuple[Tensor, Tensor]:
        """The matrix W, (C, C), and ln |det W|, a scalar; float64."""

    def matrix(self) -> Tensor:
        """W alone."""
        return self.matrix_and_log_det()[0]

    def log_abs_det(self) -> Tensor:
        """ln |det W| alone."""
        return self.matrix_and_log_det()[1]

    @made_once
    def inverse_and_log_det(self) -> tuple[Tensor, Tensor]:
        """W⁻¹, (C, C), and ln |det W|, float64. O(C³)."""
        matrix, log_det = self.matrix_and_log_det()
        inverse, info = torch.linalg.inv_ex(matrix)
        if whole(info).any():
            raise GlowkitError(
                "a 1x1 convolution's matrix has become singular and cannot be inverted; train"
                " with a lower learning rate, or with permutation 'conv1x1', whose factored"
                " matrix stays invertible"
            )
        return inverse, log_det

    def inverse(self) -> Tensor:
        """W⁻¹ alone."""
        return self.inverse_and_log_det()[0]

    @abstractmethod
    def assign(self, matrix: Tensor) -> None:
        """Take the value of a given invertible matrix, (C, C)."""

    def extra_repr(self) -> str:
        return "{}x{}".format(*next(self.parameters()).shape)


class PlainMatrix(InvertibleMatrix):
    """W itself: C² parameters; log-det by LU, O(C³) a step.

    Starts as a random rotation, or what `start(C)` gives, such as `noisy_identity`. Source: Glow,
    section 3.2, the branch that openai/glow runs.

    >>> PlainMatrix(4).log_abs_det().abs().item() < 1e-6
    True
    """

    def __init__(self, size: int, start: Callable[[int], Tensor] = random_rotation) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, size))
        if not self.weight.is_meta:
            self.assign(start(size))

    @torch.no_grad()
    def assign(self, matrix: Tensor) -> None:
        self.weight.copy_(matrix)

    @made_once
    def matrix_and_log_det(self) -> tuple[Tensor, Tensor]:
        weight = self.weight.double()
        return weight, log_abs_det(weight)


class LUMatrix(InvertibleMatrix):
    """W = P · L · U with P fixed: C² parameters; ln |det W| = Σ log_s, O(C) a step.

    L is unit lower triangular, U has the diagonal sign_s · exp(log_s) with fixed signs, so that W
    can never become singular. The three factors are packed into one matrix, as LAPACK packs them:
    strictly lower L, strictly upper U, and log_s on the diagonal; so the parameters are exactly
    the degrees of freedom of W (openai/glow stores L and U whole, with masked, inert entries).
    Starts as a random rotation. Source: Glow, section 3.2, equation 10.
    """

    permutation: Tensor
    signs: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.packed = nn.Parameter(torch.empty(size, size))
        self.register_buffer("permutation", torch.arange(size))
        self.register_buffer("signs", torch.ones(size))
        if not self.packed.is_meta:
            self.assign(random_rotation(size))

    @torch.no_grad()
    def assign(self, matrix: Tensor) -> None:
        p, lower, upper = torch.linalg.lu(matrix.double())
        diagonal = upper.diagonal()
        self.permutation.copy_(p.argmax(1))
        self.signs.copy_(diagonal.sign())
        packed = lower.tril(-1) + upper.triu(1) + diagonal.abs().log().diag()
        self.packed.copy_(packed)

    @made_once
    def matrix_and_log_det(self) -> tuple[Tensor, Tensor]:
        return lu_product(self.packed, self.permutation, self.signs)

    @made_once
    def inverse_and_log_det(self) -> tuple[Tensor, Tensor]:
        lower, upper, log_det = lu_factors(self.packed, self.signs)
        columns = torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
        half = torch.linalg.solve_triangular(
            lower, columns[:, self.permutation], upper=False, unitriangular=True
        )
        return torch.linalg.solve_triangular(upper, half, upper=True), log_det


def lu_factors(packed: Tensor, signs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """L, U and ln |det U|, in float64."""
    packed = packed.double()
    log_s = packed.diagonal()
    lower, upper = packed.tril(-1), packed.triu(1)
    lower.diagonal().fill_(1)
    upper.diagonal().copy_(log_s.exp() * signs)
    return lower, upper, log_s.sum()


def lu_product(packed: Tensor, permutation: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
    """P · L · U and ln |det| of it, in float64."""
    lower, upper, log_det = lu_factors(packed, signs)
    return (lower @ upper).index_select(0, permutation), log_det


class Conv1x1(Bijection):
    """Multiply every pixel's channels by one invertible matrix: y = W x.

    inverse: x = W⁻¹ y; ladj = pixels · ln |det W|. Shapes: (N, C, H, W), or (N, C) for vectors.
    Cost: C² multiplications a pixel. Source: Glow, section 3.2.

    Args:
        matrix: how W is parametrised: `PlainMatrix(C)` or `LUMatrix(C)`.

    >>> from glowkit.bijections import LUMatrix
    >>> layer, x = Conv1x1(LUMatrix(3)), torch.randn(2, 3, 4, 4)
    >>> torch.allclose(layer.inverse(layer(x)[0])[0], x, atol=1e-5)
    True
    """

    reads_context = False

    def __init__(self, matrix: InvertibleMatrix) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        matrix, log_det = self.matrix.matrix_and_log_det()
        return mix(x, matrix), pixelwise_ladj(x, log_det)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        inverse, log_det = self.matrix.inverse_and_log_det()
        return mix(y, inverse), -pixelwise_ladj(y, log_det)


def mix(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """matrix · x + bias for every pixel, in x's dtype, under autocast too: it is to be undone.

    A product a batch, whatever the layout; for the few channels of a flow it takes a third of a
    convolution's time on a CPU. Where torch was told to round the inputs of products on a GPU, in
    float64, which it cannot be told to round.
    """
    if x.is_cuda and x.dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest":
        wide = None if bias is None else bias.double()
        return mix(x.double(), matrix, wide).float()
    matrix = matrix.to(x.dtype)
    bias = x.new_zeros(len(matrix)) if bias is None else bias.to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        if x.dim() == 2:
            return F.linear(x, matrix, bias)
        pixels = x.flatten(2)
        return torch.baddbmm(bias[:, None], matrix.expand(x.shape[0], -1, -1), pixels).view(x.shape)


class ActnormConv1x1(Bijection):
    """Actnorm, then the 1x1 convolution, folded: y = W diag(s) x + W (s ∘ b), s = exp(3 · logs).

    inverse: x = diag(1/s) W⁻¹ y − b; ladj = pixels · (3 Σ logs + ln |det W|). The same map as the
    two layers in a chain, in one pass over the activations where they take three. The products of
    parameters are made in float64. Shapes: (N, C, H, W), or (N, C) for vectors. Cost: C²
    multiplications a pixel. Source: Glow, sections 3.1 and 3.2; folding them is ours.

    Args:
        actnorm: the first layer; `glowkit.initialize` sets it from data, as anywhere.
        conv: the second.

    Raises:
        GlowkitError: when used before actnorm was initialised.

    >>> import torch
    >>> from glowkit.bijections import PlainMatrix
    >>> layer = ActnormConv1x1(Actnorm(2), Conv1x1(PlainMatrix(2)))
    >>> layer.initialize_from(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
    >>> x = torch.randn(1, 2)
    >>> torch.allclose(layer(x)[0], layer.conv(layer.actnorm(x)[0])[0], atol=1e-5)
    True
    """

    reads_context = False

    def __init__(self, actnorm: Actnorm, conv: Conv1x1) -> None:
        super().__init__()
        self.actnorm = actnorm
        self.conv = conv

    @property
    def initialized(self) -> Tensor:
        return self.actnorm.initialized

    def initialize_from(self, x: Tensor, *_: Tensor) -> None:
        self.actnorm.initialize_from(x)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.actnorm.require_ready()
        matrix, shift, log_det = self.folded(x.dtype)
        return mix(x, matrix, shift), pixelwise_ladj(x, log_det)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.actnorm.require_ready()
        matrix, shift, log_det = self.unfolded()
        return mix(y, matrix, shift), pixelwise_ladj(y, log_det)

    @made_once
    def folded(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """W diag(s) and W (s ∘ b) in a dtype, and ln |det| of it all; made in float64."""
        matrix, actnorm = self.conv.matrix, self.actnorm
        if (
            type(matrix) is LUMatrix
            and len(matrix.packed) <= MOST_FOLDED
            and dtype == torch.float32
            and compiled_parameters(matrix, actnorm)
        ):
            given = matrix.packed, matrix.permutation, matrix.signs
            return FoldedLU.of(*given, actnorm.bias, actnorm.logs)
        scaled, shift, log_det = folded(*matrix.matrix_and_log_det(), actnorm.bias, actnorm.logs)
        return scaled.to(dtype), shift.to(dtype), log_det

    @made_once
    def unfolded(self) -> tuple[Tensor, Tensor, Tensor]:
        """diag(1/s) W⁻¹, −b, and ln |det| of it all, in float64."""
        inverse, log_det = self.conv.matrix.inverse_and_log_det()
        log_scale = LOG_SCALE_FACTOR * self.actnorm.logs.double()
        matrix = inverse / log_scale.exp()[:, None]
        return matrix, -self.actnorm.bias.double(), -log_scale.sum() - log_det


MOST_FOLDED = 128
"""Channels; larger products are torch's."""


class FoldedLU(FoldKernel):
    """Of an `LUMatrix` and an `Actnorm`; see `FoldKernel`."""

    @staticmethod
    def plain(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        packed, permutation, signs, bias, logs = inputs
        matrix, shift, log_det = folded(*lu_product(packed, permutation, signs), bias, logs)
        return matrix.to(packed.dtype), shift.to(packed.dtype), log_det


def folded(
    matrix: Tensor, log_det: Tensor, bias: Tensor, logs: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """W diag(s), W (s ∘ b), and ln |det| of it all, in float64."""
    log_scale = LOG_SCALE_FACTOR * logs.double()
    scaled = matrix * log_scale.exp()
    return scaled, scaled @ bias.double(), log_scale.sum() + log_det
