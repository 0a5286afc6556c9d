"""A matrix made of its factors as one node of autograd: tiny nodes cost as much as large ones."""

from collections.abc import Sequence

import torch
from torch import Tensor

from glowkit.nets.kernel import Kernel


class FromLU(Kernel):
    """W = P · L · U, (C, C), and ln |det W|, in float64, from the packed factors of `LUMatrix`.

    packed (C, C) holds strictly lower L, strictly upper U and ln |diagonal of U|; signs (C,) are
    those of that diagonal; W's rows are `permutation` of L · U's.
    """

    @staticmethod
    def plain(packed: Tensor, permutation: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper, log_det = factors(packed, signs)
        return (lower @ upper).index_select(0, permutation), log_det

    @staticmethod
    def quick(
        packed: Tensor, permutation: Tensor, signs: Tensor
    ) -> tuple[tuple[Tensor, Tensor], Sequence[Tensor]]:
        lower, upper, log_det = factors(packed, signs)
        return ((lower @ upper).index_select(0, permutation), log_det), (lower, upper)

    @staticmethod
    def gradients(
        inputs: Sequence[Tensor], kept: Sequence[Tensor], *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        (packed, permutation, _), (lower, upper), (grad, by_log_det) = inputs, kept, grads
        grad = torch.empty_like(grad).index_copy_(0, permutation, grad)
        by_upper = lower.T @ grad
        by_packed = (grad @ upper.T).tril_(-1).add_(by_upper.triu(1))
        by_packed.diagonal().copy_((by_upper.diagonal() * upper.diagonal()).add_(by_log_det))
        return by_packed.to(packed.dtype), None, None


class LogAbsDet(Kernel):
    """ln |det W| by LU factors, since a determinant underflows at C = 384. W is (C, C).

    `torch.linalg.slogdet` forgets, where it is differentiated forward, that its factors change too.
    """

    @staticmethod
    def plain(matrix: Tensor) -> Tensor:
        return torch.linalg.lu_factor_ex(matrix).LU.diagonal().abs().log().sum()

    @staticmethod
    def quick(matrix: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        packed, pivots, _ = torch.linalg.lu_factor_ex(matrix)
        return packed.diagonal().abs().log().sum(), (packed, pivots)

    @staticmethod
    def gradients(
        inputs: Sequence[Tensor], kept: Sequence[Tensor], *grads: Tensor
    ) -> tuple[Tensor, ...]:
        identity = torch.eye(len(inputs[0]), dtype=inputs[0].dtype, device=inputs[0].device)
        return (grads[0] * torch.linalg.lu_solve(*kept, identity).T,)


def factors(packed: Tensor, signs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """L, U and ln |det U|, in float64."""
    packed = packed.double()
    log_s = packed.diagonal()
    lower, upper = packed.tril(-1), packed.triu(1)
    lower.diagonal().fill_(1)
    upper.diagonal().copy_(log_s.exp() * signs)
    return lower, upper, log_s.sum()
