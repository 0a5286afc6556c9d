"""Compiled kernels give what their definitions give, at any size, on any number of threads."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from kernel_cases import (
    CONTEXTS,
    Case,
    Draw,
    assert_seen,
    chosen_cases,
    error,
    errors,
    fold_case,
    mixture_case,
    on_threads,
    outcome,
    plain,
    random_case,
    random_step,
    same,
    step_case,
    wrong_at_once,
)
from torch import Tensor

from glowkit.bijections.step import FlowKernel
from glowkit.nets.kernels.step import ADDITIVE, AFFINE, NONE, inverse, packs

pytestmark = pytest.mark.usefixtures("kernels")

CHOSEN = chosen_cases()
SEEDS = [pytest.param(seed, marks=pytest.mark.slow if seed >= 60 else []) for seed in range(500)]
NAN, INFINITE = float("nan"), float("inf")
KINDS = {
    **{
        f"conditioner {last} {context}": step_case(Draw(1), 3, 3, (5, 6), 7, last, context)
        for last in (1, 3)
        for context in CONTEXTS
    },
    **{
        f"step {transform} of width {width}": step_case(
            *(Draw(2), 3, 5, (5, 6), width, 3, CONTEXTS[transform]),
            *(transform, True, 9, transform == ADDITIVE),
        )
        for transform in (NONE, ADDITIVE, AFFINE)
        for width in (3, 7)
    },
    "fold": fold_case(Draw(3), 5),
    "mixture": mixture_case(Draw(3), (2, 3, 4, 2), 3, root=False),
    "root": mixture_case(Draw(3), (2, 3, 4, 2), 3, root=True),
}
kinds = pytest.mark.parametrize("case", KINDS.values(), ids=KINDS)
many = pytest.mark.parametrize(
    "case",
    [
        step_case(Draw(4), 13, 6, (9, 7), 130, 3, "vector", AFFINE, True),
        step_case(Draw(4), 13, 6, (9, 7), 130, 1, "map", ADDITIVE, True, recompute=True),
        step_case(Draw(4), 13, 6, (9, 7), 65),
        mixture_case(Draw(4), (13, 5, 40, 3), 4, root=False),
        mixture_case(Draw(4), (13, 5, 40, 3), 4, root=True),
    ],
    ids=("affine", "additive", "conditioner", "mixture", "root"),
)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# ---- values ----


@pytest.mark.parametrize("seed", SEEDS)
def test_random_calls(seed: int) -> None:
    torch.set_num_threads(1 + seed % 3)
    case = random_case(seed)
    assert not errors(case, outcome(case), plain(case))


@pytest.mark.parametrize("name", CHOSEN)
def test_sizes_and_widths(name: str) -> None:
    case = on_threads(CHOSEN[name], 2)
    assert not errors(case, outcome(case), plain(case))


@pytest.mark.parametrize("packed", [False, True], ids=["", "packed"])
@pytest.mark.parametrize("seed", range(20))
def test_the_inverse_of_random_steps(seed: int, packed: bool) -> None:
    torch.set_num_threads(1 + seed % 3)
    draw = Draw(seed)
    case = random_step(draw)
    while case.kernel is not FlowKernel or case.inputs["step"].transform == NONE:
        case = random_step(draw)
    step, x, added, matrix, shift, *parameters = case.inputs.values()
    y, ladj = (*plain(case).results, torch.zeros(len(x)))[:2]
    back = matrix.double().inverse()
    given = (t.float() for t in (y, added, back, -back @ shift.double()) if t is not None)
    y, *rest, back, shift = given
    step = replace(step, packed=packs(*parameters) if packed else None)
    found, found_ladj = inverse(step, y, rest[0] if rest else None, back, shift, *parameters)
    assert error(found, x.double()) < 1e-4
    assert error(-found_ladj, ladj.double()) < 1e-5


def test_what_is_kept_of_the_parameters_serves_any_images() -> None:
    for seed in range(20):
        case = random_step(Draw(seed))
        step, *rest = case.inputs.values()
        with torch.no_grad():
            one = case.kernel.of(replace(step, packed=packs(*rest[4:])), *rest)
            other = case.kernel.of(step, *rest)
        pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
        assert all(torch.equal(a, b) for a, b in pairs)


# ---- threads ----


@many
def test_equal_calls_give_equal_bits_and_threads_change_the_last_ones(case: Case) -> None:
    first = outcome(on_threads(case, 1))
    for number in (1, 2, 3):
        now = on_threads(case, number)
        found = outcome(now)
        assert all(same(outcome(now), found) for _ in range(4))
        assert not errors(case, found, first)


@many
def test_python_threads_at_once_do_not_meet(case: Case) -> None:
    expected = outcome(on_threads(case, 2))
    assert not wrong_at_once(case, expected, 12)


@many
@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
def test_the_number_of_threads_may_change_before_the_gradients(
    case: Case, before: int, after: int
) -> None:
    expected = plain(case)
    now = on_threads(case, before)

    def kernel(*inputs: object) -> object:
        torch.set_num_threads(before)
        made = case.kernel.of(*inputs)
        torch.set_num_threads(after)
        return made

    assert not errors(case, outcome(now, kernel), expected)


# ---- what is not finite ----


@kinds
@pytest.mark.parametrize(
    "value", [NAN, INFINITE, pytest.param(-INFINITE, marks=pytest.mark.slow)], ids=str
)
def test_what_is_not_finite_in_an_input(case: Case, value: float) -> None:
    for name in case.floats():
        for place in (0, case.inputs[name].numel() // 2, -1):
            damaged = case.inputs[name].clone()
            damaged.view(-1)[place] = value
            wrong = case.given(**{name: damaged})
            assert_seen(outcome(wrong), [plain(wrong), plain(wrong, torch.float32)])


@kinds
@pytest.mark.parametrize("value", [NAN, INFINITE], ids=str)
def test_what_is_not_finite_in_a_gradient(case: Case, value: float) -> None:
    for number in range(len(plain(case).results)):
        for place in (0, -1):

            def damaged(i: int, draw: Tensor, number: int = number, place: int = place) -> Tensor:
                if i == number:
                    draw.view(-1)[place] = value
                return draw

            both = [plain(case, dtype, weights=damaged) for dtype in (torch.float64, torch.float32)]
            assert_seen(outcome(case, weights=damaged), both)
