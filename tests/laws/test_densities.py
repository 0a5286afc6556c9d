"""The laws every density keeps; those of the ones that draw are in `test_kinds.py`."""

import math
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.autograd.functional import jacobian
from torch.func import functional_call
from torch.nn import functional as F

from glowkit.core import Density, Generator
from laws.table import BATCH, DENSITIES, Row, example, make

every = pytest.mark.parametrize("row", DENSITIES, ids=str)
conditional = pytest.mark.parametrize("row", [r for r in DENSITIES if r.context], ids=str)


def flat_noise(density: Density, x: Tensor, context: Tensor | None) -> Tensor:
    return torch.cat([noise.flatten(1) for noise in density.encode(x, context)[0]], dim=1)


def log_standard(density: Density, noises: list[Tensor]) -> Tensor:
    """log density of the noises, were they independent standard draws; shape (N,)."""
    total = torch.zeros(len(noises[0]), dtype=noises[0].dtype)
    for noise, spec in zip(noises, density.noise_specs(), strict=True):
        if spec.distribution == "normal":
            values = -0.5 * (noise**2 + math.log(2 * math.pi))
        else:
            values = F.logsigmoid(noise) + F.logsigmoid(-noise)
        total = total + values.flatten(1).sum(1)
    return total


def flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([t.detach().flatten() for t in tensors]).requires_grad_()


@every
def test_round_trip_in_float64(row: Row) -> None:
    density, (x, context) = make(row), example(row)
    noises, log_p = density.encode(x, context)
    back, log_p_back = density.decode(noises, context)
    assert (back - x).abs().max() <= row.law
    assert (log_p_back - log_p).abs().max() <= row.law


@every
def test_round_trip_in_float32(row: Row, single: torch.dtype) -> None:
    density, (x, context) = make(row, single), example(row, single, n=64)
    for graph in (True, False):
        with torch.set_grad_enabled(graph):
            noises, log_p = density.encode(x, context)
            back, log_p_back = density.decode(noises, context)
        assert (back - x).abs().max() <= row.tolerance
        assert (log_p_back - log_p).abs().max() <= 1e-3


@every
def test_log_p_is_that_of_the_noise_times_the_jacobian(row: Row) -> None:
    """The noises are whitened: change of variables from standard noise gives log p exactly."""
    density, (x, context) = make(row), example(row)
    noises, log_p = density.encode(x, context)
    standard = log_standard(density, noises)
    # No example depends on another, so the Jacobian of the sum holds every example's own.
    jac = jacobian(lambda t: flat_noise(density, t, context).sum(0), x)
    log_det = torch.linalg.slogdet(jac.flatten(2).transpose(0, 1)).logabsdet
    assert (log_p - standard - log_det).abs().max() <= row.law


@every
def test_shapes(row: Row, dtype: torch.dtype) -> None:
    check_shapes(row, dtype, lambda: None)


@every
def test_sampling_is_seeded_and_temperature_scales_the_noise(row: Row, dtype: torch.dtype) -> None:
    density, (_, context) = make(row, dtype), example(row, dtype)

    tolerance = 1e-8 if dtype == torch.float64 else 1e-5

    def draw(temperature: float | Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        return density.sample(BATCH, temperature, context, generator)

    cool, mixed = draw(0.7), draw(torch.tensor([0.7, 1.0, 0.0]))
    assert torch.equal(cool, draw(0.7))
    hot = density.draw_noises(BATCH, 1.0, torch.Generator().manual_seed(3))
    warm = [0.7 * noise for noise in hot]
    assert torch.allclose(cool, density.decode(warm, context)[0], atol=tolerance)
    assert torch.allclose(mixed[0], cool[0], atol=tolerance)
    assert torch.allclose(mixed[1], draw(1.0)[1], atol=tolerance)


def gradients_are_differences(
    density: Density, x: Tensor, context: Tensor | None, generator: Callable[[], Generator]
) -> bool:
    """Of log p by what is not whole numbers of x and the context, and by all parameters.

    generator: makes the one of each evaluation.
    """
    parameters = dict(density.named_parameters())
    # A difference for every parameter takes minutes; eight bundles of them hide nothing.
    bundles = [bundle for i in range(8) if (bundle := list(parameters)[i::8])]
    values = [flat(parameters[name] for name in names) for names in bundles]
    given = [t for t in (x, context) if t is not None]
    inputs = [t.requires_grad_() for t in given if t.is_floating_point()]

    def log_prob(*arguments: Tensor) -> Tensor:
        moved, state = iter(arguments[: len(inputs)]), {}
        for names, value in zip(bundles, arguments[len(inputs) :], strict=True):
            parts = value.split([parameters[name].numel() for name in names])
            for name, part in zip(names, parts, strict=True):
                state[name] = part.view_as(parameters[name])
        now = [next(moved) if t.is_floating_point() else t for t in given]
        return functional_call(density, state, tuple(now), {"generator": generator()})

    # `functional_call` needs a forward; the law is about log_prob.
    density.forward = lambda *given, **named: density.log_prob(*given, **named)
    return gradcheck(log_prob, (*inputs, *values), eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True)


def check_shapes(row: Row, dtype: torch.dtype, generator: Callable[[], Generator]) -> None:
    density, (x, context) = make(row, dtype), example(row, dtype)
    noises, log_p = density.encode(x, context, generator())
    assert [tuple(noise.shape[1:]) for noise in noises] == [
        spec.shape for spec in density.noise_specs()
    ]
    assert log_p.shape == (BATCH,)
    assert {log_p.dtype, *(noise.dtype for noise in noises)} == {dtype}
    sample = density.sample(BATCH, context=context, generator=generator())
    assert sample.shape == x.shape
    assert sample.dtype == x.dtype


@every
def test_gradients_against_finite_differences(row: Row) -> None:
    assert gradients_are_differences(make(row), *example(row), lambda: None)


@every
def test_pure(row: Row, dtype: torch.dtype) -> None:
    density, (x, context) = make(row, dtype), example(row, dtype)
    x_before = x.clone()
    state = {name: t.clone() for name, t in density.state_dict().items()}
    noises, log_p = density.encode(x, context)
    noises_before = [noise.clone() for noise in noises]
    density.decode(noises, context)
    assert torch.equal(x, x_before)
    assert all(torch.equal(a, b) for a, b in zip(noises, noises_before, strict=True))
    assert torch.equal(log_p, density.log_prob(x, context))
    assert all(torch.equal(t, state[name]) for name, t in density.state_dict().items())


@every
def test_independent_of_batch_mates(row: Row, dtype: torch.dtype) -> None:
    density, (x, context) = make(row, dtype), example(row, dtype)
    alone = density.log_prob(x[1:2], None if context is None else context[1:2])
    assert torch.allclose(
        alone[0], density.log_prob(x, context)[1], atol=1e-12 if dtype == torch.float64 else 1e-4
    )


@every
def test_survives_save_and_load(row: Row, dtype: torch.dtype) -> None:
    density, (x, context) = make(row, dtype), example(row, dtype)
    other = make(row, dtype, seed=7)
    other.load_state_dict(density.state_dict())
    with torch.no_grad():
        assert torch.equal(other.log_prob(x, context), density.log_prob(x, context))


@conditional
def test_context_matters_and_stays_with_its_example(row: Row, dtype: torch.dtype) -> None:
    density, (x, context) = make(row, dtype), example(row, dtype)
    assert context is not None
    changed = context.clone()
    changed[0] += 1
    before, after = density.log_prob(x, context), density.log_prob(x, changed)
    assert before[0] != after[0]
    assert torch.equal(before[1:], after[1:])


@every
def test_log_p_is_not_finite_where_the_decoded_is_not(row: Row, dtype: torch.dtype) -> None:
    """Whatever the noises, and with no effect on the other examples."""
    values = torch.tensor([math.nan, math.inf, 1e30], dtype=dtype)
    density, (x, context) = make(row, dtype), example(row, dtype, n=len(values) + 2)
    double = dtype == torch.float64
    noises, _ = density.encode(x, context)
    whole, log_p_whole = density.decode(noises, context)
    for number in range(len(noises)):
        damaged = [noise.clone() for noise in noises]
        damaged[number].view(len(x), -1)[1:-1, 0] = values
        decoded, log_p = density.decode(damaged, context)
        finite = decoded.isfinite().flatten(1).all(1)
        assert not (log_p.isfinite() & ~finite).any()
        assert not finite[1]  # decoded from NaN
        others = [0, -1]
        assert torch.allclose(decoded[others], whole[others], atol=1e-12 if double else 1e-5)
        assert torch.allclose(log_p[others], log_p_whole[others], atol=1e-9 if double else 1e-4)


@every
def test_log_p_is_not_finite_where_what_is_encoded_is_not(row: Row, dtype: torch.dtype) -> None:
    density, (x, context) = make(row, dtype), example(row, dtype, n=5)
    x.view(5, -1)[[1, 2, 3], [0, x[0].numel() // 2, -1]] = math.nan
    finite = density.log_prob(x, context).isfinite()
    assert finite.tolist() == [True, False, False, False, True]


@every
def test_whether_the_context_is_read_and_what_log_p_is_are_said(row: Row) -> None:
    density = make(row)
    assert density.reads_context == (row.context is not None)
    assert density.log_p_kind == "exact"
