"""The laws every bijection keeps."""

import pytest
import torch
from torch.autograd import gradcheck
from torch.autograd.functional import jacobian
from torch.func import functional_call

from laws.table import BATCH, BIJECTIONS, Row, example, make

every = pytest.mark.parametrize("row", BIJECTIONS, ids=str)


def rounding(dtype: torch.dtype) -> float:
    """What sums in another order may differ by."""
    return 1e-12 if dtype == torch.float64 else 2e-6


conditional = pytest.mark.parametrize("row", [r for r in BIJECTIONS if r.context], ids=str)


@every
def test_round_trip_in_float64(row: Row) -> None:
    bijection, (x, context) = make(row), example(row)
    y, _ = bijection(x, context)
    assert (bijection.inverse(y, context)[0] - x).abs().max() <= row.law


@every
def test_round_trip_in_float32(row: Row, single: torch.dtype) -> None:
    bijection, (x, context) = make(row, single), example(row, single, n=64)
    y, _ = bijection(x, context)
    back, _ = bijection.inverse(y, context)
    with torch.no_grad():
        bare, _ = bijection.inverse(bijection(x, context)[0], context)
    assert back.dtype == bare.dtype == torch.float32
    assert (back - x).abs().max() <= row.tolerance
    assert (bare - x).abs().max() <= row.tolerance


@every
def test_ladj_is_the_log_determinant_of_the_jacobian(row: Row) -> None:
    bijection, (x, context) = make(row), example(row)
    _, ladj = bijection(x, context)
    # No example depends on another, so the Jacobian of the sum holds every example's own.
    jac = jacobian(lambda t: bijection(t, context)[0].flatten(1).sum(0), x)
    expected = torch.linalg.slogdet(jac.flatten(2).transpose(0, 1)).logabsdet
    assert (ladj - expected).abs().max() <= row.law


@every
def test_inverse_ladj_is_the_negative(row: Row, dtype: torch.dtype) -> None:
    tolerance = max(row.law, 1e3 * rounding(dtype))
    bijection, (x, context) = make(row, dtype), example(row, dtype)
    y, ladj = bijection(x, context)
    assert (bijection.inverse(y, context)[1] + ladj).abs().max() <= tolerance
    with torch.no_grad():
        assert (bijection.inverse(y, context)[1] + ladj).abs().max() <= tolerance


@every
def test_ladj_is_per_example(row: Row, dtype: torch.dtype) -> None:
    bijection, (x, context) = make(row, dtype), example(row, dtype)
    y, ladj = bijection(x, context)
    assert ladj.shape == (BATCH,)
    assert ladj.dtype == dtype
    assert bijection.inverse(y, context)[1].shape == (BATCH,)


@every
def test_gradients_against_finite_differences(row: Row) -> None:
    bijection, (x, context) = make(row), example(row)
    names = [name for name, _ in bijection.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in bijection.parameters()]
    inputs = [x.requires_grad_(), *([] if context is None else [context.requires_grad_()])]

    def forward(*arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given, parameters = arguments[: len(inputs)], arguments[len(inputs) :]
        return functional_call(bijection, dict(zip(names, parameters, strict=True)), given)

    # ReLU has kinks: a finite difference that straddles one is off, so the step is small.
    assert gradcheck(forward, (*inputs, *values), eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True)


@every
def test_pure(row: Row, dtype: torch.dtype) -> None:
    bijection, (x, context) = make(row, dtype), example(row, dtype)
    x_before = x.clone()
    state = {name: t.clone() for name, t in bijection.state_dict().items()}
    y, ladj = bijection(x, context)
    y_before = y.clone()
    back, _ = bijection.inverse(y, context)
    again, ladj_again = bijection(x, context)
    assert torch.equal(x, x_before)
    assert torch.equal(y, y_before)
    assert torch.equal(y, again)
    assert torch.equal(ladj, ladj_again)
    assert torch.equal(back, bijection.inverse(y, context)[0])
    assert all(torch.equal(t, state[name]) for name, t in bijection.state_dict().items())


@every
def test_independent_of_batch_mates(row: Row, dtype: torch.dtype) -> None:
    bijection, (x, context) = make(row, dtype), example(row, dtype)
    y, ladj = bijection(x, context)
    one, ladj_one = bijection(x[1:2], None if context is None else context[1:2])
    assert torch.allclose(one[0], y[1], atol=rounding(dtype))
    assert torch.allclose(ladj_one[0], ladj[1], atol=rounding(dtype))


@every
def test_survives_save_and_load(row: Row, dtype: torch.dtype) -> None:
    bijection, (x, context) = make(row, dtype), example(row, dtype)
    other = make(row, dtype, seed=7)
    other.load_state_dict(bijection.state_dict())
    with torch.no_grad():
        y, ladj = bijection(x, context)
        y_other, ladj_other = other(x, context)
    assert torch.equal(y, y_other)
    assert torch.equal(ladj, ladj_other)
    assert torch.equal(other.inverse(y, context)[0], bijection.inverse(y, context)[0])


@conditional
def test_context_matters_and_stays_with_its_example(row: Row, dtype: torch.dtype) -> None:
    bijection, (x, context) = make(row, dtype), example(row, dtype)
    assert context is not None
    changed = context.clone()
    changed[0] += 1
    y, _ = bijection(x, context)
    y_changed, _ = bijection(x, changed)
    assert not torch.allclose(y[0], y_changed[0])
    assert torch.equal(y[1:], y_changed[1:])


@every
def test_whether_the_context_is_read_is_said(row: Row) -> None:
    assert make(row).reads_context == (row.context is not None)
