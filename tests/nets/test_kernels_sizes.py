"""What does not fit is refused by kernels, and nothing is read or written beyond its end."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from kernel_cases import Case, Draw, error, fold_case, mixture_case, step_case
from torch import Tensor

from glowkit.bijections.linear import FoldedLU
from glowkit.bijections.mixture import SMALLEST_LOG_SCALE, MixtureLogit, MixtureRoot
from glowkit.nets.kernels import mixture
from glowkit.nets.kernels.step import ADDITIVE, AFFINE, NONE, Step, in_reach, inverse, packs

pytestmark = pytest.mark.usefixtures("kernels")

TRIES = 300

CASES = {
    "conditioner": step_case(Draw(1), 3, 4, (5, 6), 7, 1, "map"),
    "none": step_case(Draw(2), 3, 5, (5, 6), 7, 3, "vector", NONE, True),
    "additive": step_case(Draw(3), 2, 4, (3, 3), 17, 1, "none", ADDITIVE, True),
    "affine": step_case(Draw(4), 2, 6, (3, 4), 5, 3, "map", AFFINE, True, recompute=True),
    "fold": fold_case(Draw(5), 6),
    "mixture": mixture_case(Draw(6), (2, 3, 4, 5), 3, root=False),
    "root": mixture_case(Draw(7), (2, 3, 4), 2, root=True),
}


def resized(draw: Draw, tensor: Tensor) -> Any:
    """Something else in the place of a tensor."""
    dim = draw.between(0, max(tensor.dim() - 1, 0))
    size = tensor.shape[dim]
    repeat = torch.arange(max(size + draw.between(1, 3), 1)) % size
    return draw.one_of(
        tensor.narrow(dim, 0, draw.between(0, size - 1)),
        tensor.index_select(dim, repeat),
        tensor.unsqueeze(dim),
        tensor.select(dim, 0),
        tensor.transpose(0, -1),
        tensor.flatten(),
        tensor.to(torch.float64),
        tensor.to(torch.bfloat16),
        tensor.to("meta"),
        tensor[:0],
    )


def changed(draw: Draw, case: Case) -> Case:
    """With another tensor, or two, or another description."""
    names = list(case.inputs)
    for _ in range(draw.between(1, 2)):
        name = names.pop(draw.between(0, len(names) - 1))
        value = case.inputs[name]
        if isinstance(value, Step):
            sizes = {"kept": draw.between(-1, 9), "transform": draw.between(0, 3)}
            value = replace(value, **sizes, jobs=draw.one_of(-1, 0, 1, 2))
        elif isinstance(value, Tensor):
            missing = "step" in case.inputs and name != "x" and draw.between(0, 9) == 0
            value = None if missing else resized(draw, value)
        elif value is None:
            value = torch.ones(draw.between(1, 4), draw.between(1, 4))
        case = case.given(**{name: value})
    return case


def direct(case: Case) -> tuple[Tensor, ...]:
    """By the kernel, whatever it is given."""
    given = case.inputs.values()
    if case.kernel is FoldedLU:
        return case.kernel.quick(*given)[0]
    if case.kernel is MixtureLogit:
        return mixture.forward(*given, SMALLEST_LOG_SCALE)
    if case.kernel is MixtureRoot:
        return (mixture.root(*given, SMALLEST_LOG_SCALE, 30),)
    made = case.kernel.of(*given)
    return made if isinstance(made, tuple) else (made,)


@pytest.mark.parametrize("gradients", [False, True], ids=["bare", "graph"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_not_refused_is_right(name: str, gradients: bool) -> None:
    refused = 0
    for seed in range(TRIES):
        case = changed(Draw(seed), CASES[name])
        if gradients and case.inputs.get("x") is not None:
            case = case.given(x=case.inputs["x"].detach().requires_grad_())
        try:
            found = direct(case)
        except ValueError:
            refused += 1
            continue
        expected = case.kernel.plain(*case.inputs.values())
        expected = expected if isinstance(expected, tuple) else (expected,)
        for one, other in zip(found, expected, strict=True):
            assert error(one.detach(), other.detach().double()) < 1e-3, seed
        if found[0].requires_grad:
            torch.autograd.grad([t.sum() for t in found], case.inputs["x"])
    assert refused > TRIES / 2


@pytest.mark.parametrize("seed", range(20))
def test_gradients_of_a_mixture_that_do_not_fit(seed: int) -> None:
    x, groups = CASES["mixture"].inputs.values()
    grads = [torch.ones_like(x), torch.ones_like(x)]
    grads[seed % 2] = resized(Draw(seed), x)
    if grads[seed % 2].shape == x.shape and grads[seed % 2].dtype == x.dtype:
        return
    with pytest.raises(ValueError, match=r"gradients|float32"):
        mixture.backward(x, groups, SMALLEST_LOG_SCALE, *grads)


@pytest.mark.parametrize("name", ["additive", "affine"])
def test_inverses_that_do_not_fit(name: str) -> None:
    case = CASES[name]
    refused = 0
    for seed in range(TRIES):
        given = changed(Draw(seed), case).inputs
        if given["matrix"] is None or given["shift"] is None or given["x"] is None:
            continue
        try:
            x, ladj = inverse(*given.values())
        except ValueError:
            refused += 1
            continue
        assert x.shape == given["x"].shape
        assert ladj.shape == x.shape[:1]
    assert refused > TRIES / 3


@pytest.mark.parametrize("name", ["conditioner", "none", "additive", "affine"])
def test_packs_that_do_not_fit(name: str) -> None:
    step, *rest = CASES[name].inputs.values()
    whole = packs(*rest[4:])
    for packed in (whole[:-1], torch.cat([whole, whole]), whole.double(), whole[None], whole[:0]):
        with pytest.raises(ValueError, match="packs"):
            CASES[name].kernel.of(replace(step, packed=packed), *rest)
    for seed in range(TRIES):
        parameters, at = (
            list(rest[4:]),
            Draw(seed).between(1, 10),
        )  # the first says how many channels it reads
        if parameters[at] is None:
            continue
        parameters[at] = resized(Draw(seed), parameters[at])
        if parameters[at] is None or parameters[at].shape != rest[4:][at].shape:
            with pytest.raises(ValueError, match=r"sizes|dimensions|fit"):
                packs(*parameters)


def test_a_permutation_that_is_none() -> None:
    case = CASES["fold"]
    for wrong in (-1, 6, 2**40):
        rows = case.inputs["permutation"].clone()
        rows[3] = wrong
        with pytest.raises(ValueError, match="permutation"):
            case.kernel.of(*case.given(permutation=rows).inputs.values())


@pytest.mark.parametrize("channels", [1, 12])
def test_offsets_that_do_not_fit_into_32_bits(channels: int) -> None:
    """A view of few numbers that would be read as many."""
    x = torch.zeros(()).expand(1, channels, 2**13, 2**13)
    assert in_reach(x, 31)
    assert not in_reach(x, 32)
