"""Invertible matrices for the 1x1 convolution: plain, or factored."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from glowkit.bijections.matrix_kernel import FromLU, LogAbsDet, factors
from glowkit.core import GlowkitError
from glowkit.nets.keeping import Keeping
from glowkit.nets.kernel import whole


def random_rotation(size: int) -> Tensor:
    """A random orthogonal matrix: Q of the QR factorisation of a Gaussian matrix."""
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0]


def noisy_identity(size: int) -> Tensor:
    """I + 0.001 · N(0, 1): almost no mixing at first (aravindsrinivas/flowpp, `Pointwise`)."""
    identity = torch.eye(size, dtype=torch.float64)
    return identity + 0.001 * torch.randn(size, size, dtype=torch.float64)


class InvertibleMatrix(Keeping, ABC):
    """A learned invertible matrix. Assembled, inverted and log-det'ed in float64.

    To write one: implement `assign` and `_assemble`.
    """

    def matrix_and_log_det(self) -> tuple[Tensor, Tensor]:
        """The matrix W, (C, C), and ln |det W|, a scalar; float64."""
        return self.kept("assembled", self._assemble)

    def matrix(self) -> Tensor:
        """W alone."""
        return self.matrix_and_log_det()[0]

    def log_abs_det(self) -> Tensor:
        """ln |det W| alone."""
        return self.matrix_and_log_det()[1]

    def inverse_and_log_det(self) -> tuple[Tensor, Tensor]:
        """W⁻¹, (C, C), and ln |det W|, float64. O(C³) when a parameter has changed."""
        return self.kept("inverse", self._invert)

    def inverse(self) -> Tensor:
        """W⁻¹ alone."""
        return self.inverse_and_log_det()[0]

    @abstractmethod
    def assign(self, matrix: Tensor) -> None:
        """Take the value of a given invertible matrix, (C, C)."""

    @abstractmethod
    def _assemble(self) -> tuple[Tensor, Tensor]:
        """W and ln |det W|, float64."""

    def _invert(self) -> tuple[Tensor, Tensor]:
        """W⁻¹ and ln |det W|, float64."""
        matrix, log_det = self._assemble()
        inverse, info = torch.linalg.inv_ex(matrix)
        if whole(info).any():
            raise GlowkitError(
                "a 1x1 convolution's matrix has become singular and cannot be inverted; train"
                " with a lower learning rate, or with permutation 'conv1x1', whose factored"
                " matrix stays invertible"
            )
        return inverse, log_det


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

    def _assemble(self) -> tuple[Tensor, Tensor]:
        weight = self.weight.double()
        return weight, LogAbsDet.of(weight)


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

    def _assemble(self) -> tuple[Tensor, Tensor]:
        matrix, log_det = FromLU.of(self.packed, self.permutation, self.signs)
        return matrix, log_det

    def _invert(self) -> tuple[Tensor, Tensor]:
        lower, upper, log_det = factors(self.packed, self.signs)
        columns = torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
        half = torch.linalg.solve_triangular(
            lower, columns[:, self.permutation], upper=False, unitriangular=True
        )
        return torch.linalg.solve_triangular(upper, half, upper=True), log_det
