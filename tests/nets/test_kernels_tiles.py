"""Kernels in bfloat16 are as exact as torch's bfloat16, where the processor has tiles for them."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from kernel_cases import (
    CONTEXTS,
    Case,
    Draw,
    assert_seen,
    on_threads,
    outcome,
    plain,
    same,
    step_case,
    wrong_at_once,
)
from torch import Tensor
from torch.nn import functional as F

from glowkit.bijections.step import FlowKernel
from glowkit.nets import GlowNet
from glowkit.nets.glow import NARROWEST
from glowkit.nets.kernels import library
from glowkit.nets.kernels.step import ADDITIVE, AFFINE, NONE, Step, inverse, packs

ROUNDING = 2**-8
NAN, INFINITE = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def tiles(kernels: None) -> Iterator[None]:
    if not library.tiles():
        pytest.skip(f"the kernels here do not multiply bfloat16: {library.state()}")
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def error(one: Tensor, exact: Tensor) -> float:
    """Of all numbers of a tensor, relative to them."""
    one, exact = one.detach().double(), exact.detach()
    return float((one - exact).norm() / exact.norm().clamp_min(1e-30))


def decided(case: Case) -> Case:
    """With units of which nearly all are far from where a rounding turns their ReLU on or off."""
    signs = case.inputs["b1"].sign()
    return case.given(b1=6 * signs, w2=0.2 * case.inputs["w2"], b2=-6 * signs)


def assert_as_exact(case: Case) -> None:
    """As torch in bfloat16, beside float64; some roundings more where few numbers are summed."""
    case = decided(case)
    high = case.given(step=replace(case.inputs["step"], low=False))
    exact, usual = plain(high).all(), outcome(case, case.kernel.plain).all()
    found = outcome(case).all()
    for name, right in exact.items():
        assert error(found[name], right) <= 2 * error(usual[name], right) + 4 * ROUNDING, name


SIZES = {"1x1": (1, 1), "1x9": (1, 9), "5x7": (5, 7), "16x16": (16, 16), "9x33": (9, 33)}
KINDS = [(NONE, False), (NONE, True), (ADDITIVE, True), (AFFINE, True)]


@pytest.mark.parametrize("width", [3, 65, 128])
@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients(size: str, width: int) -> None:
    for number, (transform, mixes) in enumerate(KINDS):
        context = CONTEXTS[(number + width) % 3]
        case = step_case(
            *(Draw(number), 4, 3 + 9 * number, SIZES[size], width, 3),
            *(context, transform, mixes, 6 + 7 * number, number % 2 == 1, True),
        )
        assert_as_exact(on_threads(case, 1 + number % 3))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300))
def test_random_calls(seed: int) -> None:
    draw = Draw(seed)
    transform, mixes = draw.one_of(*KINDS)
    size = draw.between(1, 40), draw.between(1, 40)
    case = step_case(
        *(draw, draw.between(1, 9), draw.between(2, 80), size, draw.between(1, 300), 3),
        *(draw.one_of(*CONTEXTS), transform, mixes, draw.between(1, 90)),
        *(draw.between(0, 2) == 0, True),
    )
    assert_as_exact(on_threads(case, 1 + seed % 3))


def test_what_is_kept_of_the_parameters_gives_equal_bits_and_the_inverse() -> None:
    for transform in (ADDITIVE, AFFINE):
        case = step_case(Draw(2), 4, 6, (6, 5), 70, 3, "map", transform, True, low=True)
        step, x, added, matrix, shift, *parameters = case.inputs.values()
        packed = replace(step, packed=packs(*parameters, low=True))
        with torch.no_grad():
            y = FlowKernel.of(step, x, added, matrix, shift, *parameters)
            same = FlowKernel.of(packed, x, added, matrix, shift, *parameters)
        y, same = (made if transform == ADDITIVE else made[0] for made in (y, same))
        assert torch.equal(y, same)
        back = matrix.inverse()
        for one in (step, packed):
            found, _ = inverse(one, y, added, back, -back @ shift, *parameters)
            assert error(found, x.double()) < 1e-5


CASES = {
    "affine": step_case(Draw(4), 7, 6, (9, 7), 70, 3, "vector", AFFINE, True, low=True),
    "additive": step_case(
        *(Draw(4), 7, 6, (9, 7), 33, 3, "map", ADDITIVE, True), recompute=True, low=True
    ),
    "conditioner": step_case(Draw(4), 7, 6, (9, 7), 65, low=True),
}
every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@every
def test_equal_calls_give_equal_bits_beside_torchs_own_tiles(case: Case) -> None:
    x, weight = torch.randn(4, 32, 9, 9).bfloat16(), torch.randn(48, 32, 3, 3).bfloat16()
    between = F.conv2d(x, weight, padding=1)
    for number in (1, 2, 3):
        now = on_threads(case, number)
        found = outcome(now)
        for _ in range(3):
            assert torch.equal(F.conv2d(x, weight, padding=1), between)
            assert same(outcome(now), found)


@every
def test_python_threads_at_once_do_not_meet(case: Case) -> None:
    case = on_threads(case, 2)
    expected = outcome(case)
    assert not wrong_at_once(case, expected, 8)


@every
def test_an_image_is_the_same_among_others(case: Case) -> None:
    few = {"x": case.inputs["x"][3:5]}
    if case.inputs["added"] is not None:
        few["added"] = case.inputs["added"][3:5]
    for found, alone in zip(outcome(case).results, outcome(case.given(**few)).results, strict=True):
        assert torch.equal(found[3:5], alone)


@pytest.mark.parametrize(("name", "value"), [("affine", NAN), ("conditioner", INFINITE)])
def test_what_is_not_finite_is_seen(name: str, value: float) -> None:
    case = CASES[name]
    case = case.given(step=replace(case.inputs["step"], jobs=1))
    high = case.given(step=replace(case.inputs["step"], low=False))
    for name in case.floats():
        damaged = case.inputs[name].clone()
        damaged.view(-1)[damaged.numel() // 2] = value
        usual = [
            outcome(of.given(**{name: damaged}), of.kernel.plain, torch.float32)
            for of in (case, high)
        ]
        assert_seen(outcome(case.given(**{name: damaged})), usual)


def test_a_gradient_of_a_gradient_is_plain_torchs() -> None:
    case = step_case(Draw(1), 2, 4, (3, 4), 40, 3, "none", AFFINE, True, low=True)
    step, x, *rest = case.inputs.values()
    x = x.requires_grad_()
    twice = []
    for function in (FlowKernel.of, FlowKernel.plain):
        y, ladj = function(step, x, *rest)
        (once,) = torch.autograd.grad(y.square().sum() + ladj.sum(), x, create_graph=True)
        twice.append(torch.autograd.grad(once.square().sum(), x)[0])
    assert error(twice[0], twice[1].double()) < 0.1


def test_a_1x1_last_convolution_is_refused() -> None:
    case = step_case(Draw(1), 2, 4, (3, 4), 40, 1, low=True)
    with pytest.raises(ValueError, match="1x1"):
        outcome(case)


def net(width: int, last: int = 3, precision: str = "bfloat16") -> GlowNet:
    made = GlowNet(2, 6, width, precision=precision, last_kernel=last)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return made


@pytest.mark.parametrize(
    ("width", "last", "precision", "low"),
    [
        (NARROWEST + 1, 3, "bfloat16", True),
        (NARROWEST, 3, "bfloat16", False),
        (NARROWEST + 1, 1, "bfloat16", False),
        (NARROWEST + 1, 3, "float32", False),
    ],
)
def test_which_networks_they_are_for(
    width: int, last: int, precision: str, low: bool, calls: list[str]
) -> None:
    made = net(width, last, precision)
    assert made.step(2).low == low
    made(torch.randn(4, 2, 5, 5)).sum().backward()
    assert calls[-1] == "glow_backward"


def test_wide_networks_take_them(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = net(200), torch.randn(4, 2, 8, 8)
    found = made(x)
    assert "glow_forward" in calls
    monkeypatch.setenv(library.SWITCH, "0")
    assert 0 < error(found, made(x).double()) < 2 * ROUNDING


def test_the_state_names_them() -> None:
    assert f"{library.state().instructions} + AMX-BF16, " in str(library.state())


def test_without_tiles_nothing_is_low(monkeypatch: pytest.MonkeyPatch) -> None:
    found = library._once()
    monkeypatch.setattr(library, "_found", replace(found, state=replace(found.state, tiles="")))
    assert not net(200).step(2).low
    with pytest.raises(ValueError, match="no kernels in bfloat16"):
        packs(*net(200).convolutions(), low=True)
    assert not Step(2).low
