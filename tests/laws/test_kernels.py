"""Compiled kernels compute what every row of the table is, as exactly as plain torch does."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glowkit.bijections import ActnormConv1x1, LogisticMixture, LUMatrix
from glowkit.core import Density
from glowkit.nets import GlowNet
from glowkit.nets.kernels.library import SWITCH
from laws.table import BIJECTIONS, DENSITIES, Row, example, make

ROWS = [*BIJECTIONS, *DENSITIES]
every = pytest.mark.parametrize("row", ROWS, ids=str)
WORSE = 4.0  # times plain torch's error
NEGLIGIBLE = 1e-6  # and of the largest number


def results(row: Row, dtype: torch.dtype) -> dict[str, Tensor]:
    """What a row makes of a batch, and the gradients of a weighted sum by all there is."""
    torch.manual_seed(0)
    module: Any = make(row)  # the same numbers in every dtype
    x, context = example(row)
    inputs = [t.float().to(dtype).requires_grad_() for t in (x, context) if t is not None]
    module = module.float().to(dtype)
    if isinstance(module, Density):
        noises, log_p = module.encode(*inputs)
        made = [*noises, log_p]
    else:
        made = list(module(*inputs))
    generator = torch.Generator().manual_seed(3)
    draws = [torch.randn(t.shape, generator=generator).to(t.dtype) for t in made]
    loss = sum((t * d).sum() for t, d in zip(made, draws, strict=True))
    names = ["x", "context"][: len(inputs)] + [name for name, _ in module.named_parameters()]
    grads = [torch.zeros(())] * len(names)
    if loss.requires_grad:
        wanted = [*inputs, *module.parameters()]
        grads = list(torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True))
    found = {f"result {i}": t.detach() for i, t in enumerate(made)}
    return {**found, **{f"by {name}": grad for name, grad in zip(names, grads, strict=True)}}


def error(one: Tensor, exact: Tensor) -> float:
    return float((one.double() - exact).abs().max())


@every
def test_values_and_gradients_are_as_exact_as_plain_ones(
    row: Row, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = results(row, torch.float32)
    ran = list(calls)
    monkeypatch.setenv(SWITCH, "0")
    plain, exact = results(row, torch.float32), results(row, torch.float64)
    assert len(calls) == len(ran)
    assert found.keys() == exact.keys()
    for name, right in exact.items():
        allowed = WORSE * error(plain[name], right) + NEGLIGIBLE * (1 + float(right.abs().max()))
        assert error(found[name], right) <= allowed, name


def has(module: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(part, kind) for part in module.modules())


@every
def test_they_run_where_there_are_any(row: Row, calls: list[str]) -> None:
    module = make(row, torch.float32)
    with torch.no_grad():
        x, context = example(row, torch.float32)
        calls.clear()
        if isinstance(module, Density):
            module.decode(module.encode(x, context)[0], context)
        else:
            module.inverse(module(x, context)[0], context)
    folds = any(
        isinstance(part, ActnormConv1x1) and isinstance(part.conv.matrix, LUMatrix)
        for part in module.modules()
    )
    assert ("glow_fold" in calls) == folds
    assert ({"glow_forward", "glow_inverse"} & set(calls) != set()) == has(module, GlowNet)
    assert any("mixture" in call for call in calls) == has(module, LogisticMixture)
