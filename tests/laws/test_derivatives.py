"""Derivatives of any order: by gradients of gradients, and under every transform of torch.func."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.functional import hessian, hvp, vhp

from glowkit.core import Density
from laws.derivatives import (
    Function,
    Values,
    along,
    derivative,
    differences,
    draw,
    error,
    function_of,
    gradient,
    leaves,
)
from laws.table import BIJECTIONS, DENSITIES, Row, example, make

FEW = [
    *("step-context", "coupling-affine-map", "coupling-mixture-vector", "coupling-spline-vector"),
    *("chain-checkpoint", "chain-reversible", "actnorm-conv1x1-vector", "logit", "shuffle"),
    *("points-realnvp", "points-nice", "glow-additive", "variational-affine"),
]
ROWS = [*BIJECTIONS, *DENSITIES]
every = pytest.mark.parametrize("row", ROWS, ids=str)
few = pytest.mark.parametrize(
    "row",
    [pytest.param(r, marks=[] if r.name in FEW else pytest.mark.slow) for r in ROWS],
    ids=str,
)
"""The longer laws, of all rows where slow tests run."""
both_ways = pytest.mark.parametrize("way", ["there", "back"])
TOLERANCE = 1e-6


@contextmanager
def forward_mode() -> Iterator[None]:
    """torch's own decompositions for it are compiled in a way that it says is deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
        yield


def function_at(module: nn.Module, way: str, *inputs: Tensor | None) -> tuple[Function, Values]:
    """What a module does with inputs, or from what it makes of them back to them."""
    x, *context = inputs
    there: Callable[..., Any] = module
    back = getattr(module, "inverse", None)
    if isinstance(module, Density):
        density = module

        def there(x: Tensor, context: Tensor | None = None) -> list[Tensor]:
            noises, log_p = density.encode(x, context)
            return [*noises, log_p]

        def back(*given: Tensor) -> tuple[Tensor, Tensor]:
            count = len(density.noise_specs())
            return density.decode(given[:count], *given[count:])

    if way == "there":
        return function_of(module, there, *inputs)
    with torch.no_grad():
        made = there(x, *context)[:-1]
    return function_of(module, back, *made, *context)


def functions(row: Row, way: str, n: int = 2) -> tuple[Function, Values]:
    return function_at(make(row), way, *example(row, n=n))


@every
@both_ways
def test_second_derivatives_are_central_differences(row: Row, way: str) -> None:
    """By inputs, context and parameters, all at once: along a direction in all of them."""
    function, values = functions(row, way)
    direction = draw(values)
    found = derivative(function, leaves(values), direction, 2)
    assert error(found, differences(function, values, direction, 2)) < TOLERANCE


@few
@both_ways
def test_forward_over_reverse_is_reverse_over_reverse(row: Row, way: str) -> None:
    function, values = functions(row, way)
    direction, places = draw(values), tuple(range(len(values)))
    with forward_mode():
        _, found = torch.func.jvp(torch.func.grad(function, places), values, direction)
    assert error(found, derivative(function, leaves(values), direction, 2)) < TOLERANCE


@pytest.mark.slow
@every
@both_ways
def test_third_derivatives_are_central_differences(row: Row, way: str) -> None:
    function, values = functions(row, way)
    direction = draw(values)
    found = derivative(function, leaves(values), direction, 3)
    assert error(found, differences(function, values, direction, 3)) < TOLERANCE


def hessians(function: Callable[[Tensor], Tensor], x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The Hessian by x, in every way that torch offers."""
    yield "functional", hessian(function, x)
    yield "functional, vectorized", hessian(function, x, vectorize=True)
    yield (
        "functional, forward",
        hessian(function, x, vectorize=True, outer_jacobian_strategy="forward-mode"),
    )
    yield "func", torch.func.hessian(function)(x)
    yield "reverse twice", torch.func.jacrev(torch.func.jacrev(function))(x)
    yield "forward twice", torch.func.jacfwd(torch.func.jacfwd(function))(x)
    at = x.clone().requires_grad_()
    (slope,) = gradient(function(at), (at,), graph=True)
    if slope.requires_grad:
        size = x.numel()
        units = torch.eye(size, dtype=x.dtype).view(size, *x.shape)

        def row(unit: Tensor) -> Tensor:
            found = torch.autograd.grad(
                slope, at, unit, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            return found[0]

        yield "vmap of gradients", torch.vmap(row)(units).view(*x.shape, *x.shape)


@few
@both_ways
def test_hessians_of_all_kinds_agree(row: Row, way: str) -> None:
    function, values = functions(row, way, n=1)
    rest = values[1:]
    with forward_mode():
        (_, first), *others = hessians(lambda x: function(x, *rest), values[0])
    for name, other in others:
        assert error([other], [first]) < TOLERANCE, name


@few
@both_ways
def test_products_and_dual_numbers_agree(row: Row, way: str) -> None:
    function, values = functions(row, way)
    direction = draw(values)
    expected = derivative(function, leaves(values), direction, 2)
    slope = along(direction, derivative(function, leaves(values), direction, 1))
    assert error(hvp(function, values, direction)[1], expected) < TOLERANCE
    assert error(vhp(function, values, direction)[1], expected) < TOLERANCE
    with forward_mode(), forward_ad.dual_level():
        duals = tuple(
            forward_ad.make_dual(value.requires_grad_(), d)
            for value, d in zip(leaves(values), direction, strict=True)
        )
        output = function(*duals)
        tangent = forward_ad.unpack_dual(output).tangent
        assert error([tangent], [slope]) < TOLERANCE
        tangents = [forward_ad.unpack_dual(g).tangent for g in gradient(output, duals)]
    found = [torch.zeros_like(v) if t is None else t for v, t in zip(values, tangents, strict=True)]
    assert error(found, expected) < TOLERANCE
