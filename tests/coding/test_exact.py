"""Exact parts are close to what they stand for, and the same in any batch."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from coding.models import CONFIGS, trained
from glowkit.bijections import Checkerboard, Coupling, MaskedCoupling
from glowkit.densities import ConditionalNormal, WithContext
from glowkit.tasks.coding import functions
from glowkit.tasks.coding.exact import Convolution, activations, net_of
from glowkit.tasks.coding.grid import Book, Grid, chunks, ratio, scaled, unscaled
from glowkit.tasks.coding.leaves import Noise, logistic, normal
from glowkit.tasks.coding.matrix import factors
from glowkit.tasks.coding.stack import Stack, Unfit, Words


@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "softplus", "elu"])
def test_functions_are_right_to_the_last_digits(name: str) -> None:
    x = np.concatenate([np.linspace(-40, 40, 4001), [-600.0, 0.0, 600.0]])
    ours = getattr(functions, name)(x)
    theirs = torch.nn.functional.elu if name == "elu" else None
    theirs = theirs or (
        torch.nn.functional.softplus if name == "softplus" else getattr(torch, name)
    )
    wanted = theirs(torch.from_numpy(x)).numpy()
    assert np.allclose(ours, wanted, rtol=1e-8 if name == "softplus" else 1e-14, atol=1e-15)


def test_the_logarithm_too() -> None:
    x = np.geomspace(1e-290, 1e290, 5001)
    assert np.allclose(functions.log(x), np.log(x), rtol=1e-14)
    assert functions.total(np.array([[0.1] * 10]))[0] == sum([0.1] * 10)


def test_gelu_is_right_to_six_digits() -> None:
    x = np.concatenate([np.linspace(-40, 40, 4001), [-600.0, 0.0, 600.0]])
    wanted = torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
    assert np.abs(functions.gelu(x) - wanted).max() < 1e-6


def nets(name: str) -> list[tuple[nn.Module, tuple[int, ...], int | None]]:
    """The networks of a trained model, with the shapes of their inputs and contexts' channels."""
    found: list[tuple[nn.Module, tuple[int, ...], int | None]] = []
    model = trained(CONFIGS[name])
    seen: list[tuple[nn.Module, tuple[int, ...], int | None]] = []
    kinds = (Coupling, MaskedCoupling, ConditionalNormal, WithContext)
    parts = [part.net for part in model.modules() if isinstance(part, kinds)]

    def watch(module: nn.Module, inputs: tuple[torch.Tensor | None, ...], _: object) -> None:
        context = inputs[1] if len(inputs) > 1 else None
        seen.append((module, tuple(inputs[0].shape[1:]), context))  # type: ignore[union-attr, arg-type]

    hooks = [part.register_forward_hook(watch) for part in parts]
    images = torch.randint(17, (2, 1, 8, 8), dtype=torch.uint8)
    labels = torch.zeros(2, dtype=torch.long) if model.classes else None
    with torch.no_grad():
        model.log_prob(images, labels)
    for hook in hooks:
        hook.remove()
    for module, shape, context in seen:
        found.append((module, shape, context))
    return found


@pytest.mark.parametrize(
    "name",
    ["classes everywhere", "variational", "NICE", "RealNVP", "Flow++, variational", "Jet"],
)
def test_networks_are_close_and_the_same_in_any_batch(name: str) -> None:
    torch.manual_seed(0)
    for module, shape, context in nets(name):
        net = net_of(module, Book())
        a = activations(torch.randn(7, *shape, dtype=torch.float64))
        given = None
        if context is not None:
            given = activations(torch.rand(7, *context.shape[1:], dtype=torch.float64))  # type: ignore[attr-defined]
        with torch.no_grad():
            y = net(a, given)
            inputs = [x * 2.0**-14 for x in (a, given) if x is not None]
            close = module.double()(*inputs)
        assert float((y - close).abs().max()) < 4e-3 * max(1.0, float(close.abs().max()))
        alone = [net(a[i : i + 1], None if given is None else given[i : i + 1]) for i in range(7)]
        assert torch.equal(torch.cat(alone), y)


def test_sums_that_would_not_be_exact_are_refused() -> None:
    conv = Convolution(Book(), np.full((1, 4, 1, 1), 2.0**20), np.zeros(1))
    with pytest.raises(Unfit):
        conv(torch.full((1, 4, 1, 1), 2.0**20, dtype=torch.float64))
    with pytest.raises(Unfit):
        conv(torch.full((1, 4, 1, 1), math.nan, dtype=torch.float64))


def test_a_matrix_is_its_factors() -> None:
    matrix = np.random.default_rng(0).normal(size=(7, 7))
    order, lower, upper = factors(matrix)
    product = ((lower + np.eye(7)) @ upper)[order]
    assert np.allclose(product, matrix, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 0.3, 1.0, 77.7, 1e4, 1e5])
def test_scaling_is_undone_and_costs_its_logarithm(scale: float) -> None:
    r, s = ratio(np.array(scale))
    if 1e-3 <= scale <= 1e4:
        assert r / s == pytest.approx(scale, rel=2e-3)
    random = np.random.default_rng(0)
    stack = Stack(Words(random.integers(1, 2**32, 3000)), careful=True)
    stack.chunk, before, bits = 300, stack.place(), stack.bits()
    x = random.integers(-(2**20), 2**20, 2000)
    y = scaled(stack, x, r, s)
    assert len(list(chunks(stack, 2000))) == 7
    assert stack.bits() - bits == pytest.approx(2000 * float(np.log2(s / r)), abs=70)
    assert np.abs(y - x * (r / s)).max() <= max(1, r / s)
    assert np.array_equal(unscaled(stack, y, r, s), x)
    assert stack.place() == before


def test_scales_out_of_range_are_refused() -> None:
    for scale in (1e9, math.inf, math.nan):
        with pytest.raises(Unfit):
            ratio(np.array(scale))
    with pytest.raises(Unfit):
        Grid(1000).integers(np.array([math.nan]))


@pytest.mark.parametrize(("density", "far"), [(normal, 8), (logistic, 20)])
def test_noise_has_its_entropy_and_what_is_far_comes_back(density: object, far: int) -> None:
    grid = Grid(17 << 8)
    noise = Noise(grid, density, far)  # type: ignore[arg-type]
    random = np.random.default_rng(0)
    draw = random.normal(size=5000) if density is normal else random.logistic(size=5000)
    entropy = 0.5 * math.log2(2 * math.pi * math.e) if density is normal else 2 / math.log(2)
    stack = Stack(Words())
    x = grid.integers(draw)
    noise.push(stack, x)
    assert stack.bits() / 5000 == pytest.approx(entropy + math.log2(grid.unit), abs=0.05)
    assert np.array_equal(noise.pop(stack, (5000,)), x)
    x[::7] = random.integers(-(2**31), 2**31, len(x[::7]))
    noise.push(stack, x)
    assert np.array_equal(noise.pop(stack, (5000,)), x)
    with pytest.raises(Unfit):
        noise.push(stack, x + 2**32)


def test_patterns_move_whole_numbers() -> None:
    x = torch.arange(16).reshape(1, 1, 4, 4)
    assert torch.equal(Checkerboard().inverse(Checkerboard()(x)[0])[0], x)
