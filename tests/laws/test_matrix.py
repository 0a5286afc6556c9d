"""The inverse and log-det of a matrix are those of its parameters."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from glowkit.bijections import LUMatrix, PlainMatrix
from glowkit.bijections.linear import InvertibleMatrix, random_rotation

MATRICES = [PlainMatrix, LUMatrix]


def check(matrix: InvertibleMatrix) -> None:
    with torch.no_grad():
        w = matrix.matrix()
        identity = torch.eye(len(w), dtype=w.dtype)
        assert (matrix.inverse() @ w - identity).abs().max() < 1e-9
        assert abs(torch.linalg.slogdet(w).logabsdet - matrix.log_abs_det()) < 1e-9


def step(matrix: InvertibleMatrix, make: Callable[..., torch.optim.Optimizer]) -> None:
    optimizer = make(matrix.parameters(), lr=0.05)
    matrix.matrix().square().sum().backward()
    matrix.log_abs_det().backward()
    optimizer.step()


def fused(parameters: list[Tensor], lr: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=lr, fused=True)


CHANGES: dict[str, Callable[[InvertibleMatrix], object]] = {
    "optimiser": lambda m: step(m, torch.optim.Adamax),
    "fused optimiser": lambda m: step(m, fused),
    "load_state_dict": lambda m: m.load_state_dict(type(m)(5).state_dict()),
    "to float64": lambda m: m.double(),
    "in place": lambda m: next(m.parameters()).requires_grad_(False).mul_(1.1),
    "assign": lambda m: m.assign(random_rotation(5)),
}


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("change", CHANGES)
def test_never_stale(kind: type[InvertibleMatrix], change: str) -> None:
    torch.manual_seed(0)
    matrix = kind(5).eval()
    check(matrix)
    with torch.no_grad():
        before = matrix.matrix().clone()
    CHANGES[change](matrix)
    check(matrix)
    with torch.no_grad():
        assert change == "to float64" or not torch.equal(before, matrix.matrix())


def test_signs_that_change_alone_are_seen() -> None:
    matrix = LUMatrix(4).eval()
    with torch.no_grad():
        before = matrix.inverse()
        matrix.signs.neg_()
        assert not torch.equal(matrix.inverse(), before)
    check(matrix)


@pytest.mark.parametrize("kind", MATRICES)
def test_assign_takes_a_given_matrix(kind: type[InvertibleMatrix]) -> None:
    wanted = random_rotation(6) + 0.1 * torch.eye(6, dtype=torch.float64)
    matrix = kind(6).double()
    matrix.assign(wanted)
    assert (matrix.matrix() - wanted).abs().max() < 1e-12


def test_a_singular_plain_matrix_says_what_to_do() -> None:
    matrix = PlainMatrix(3)
    with torch.no_grad():
        matrix.weight.zero_()
        with pytest.raises(ValueError, match="singular"):
            matrix.inverse()
