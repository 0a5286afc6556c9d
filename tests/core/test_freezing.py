"""A frozen model is the model, to the last bit, and what it makes of parameters is made once."""

import copy
import sys
import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from glowkit import GlowConfig, GlowkitError, build, frozen, initialize
from glowkit.bijections import Conv1x1, LUMatrix, PlainMatrix
from glowkit.core import Density
from glowkit.core.freezing import is_frozen
from laws.table import BIJECTIONS, DENSITIES, Row, example, make


def both_ways(module: Any, x: Tensor, context: Tensor | None) -> list[Tensor]:
    if isinstance(module, Density):
        noises, log_p = module.encode(x, context)
        return [*noises, log_p, *module.decode(noises, context)]
    y, ladj = module(x, context)
    return [y, ladj, *module.inverse(y, context)]


@pytest.mark.parametrize("row", [*BIJECTIONS, *DENSITIES], ids=str)
@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)], ids=str
)
def test_the_same_to_the_last_bit(row: Row, dtype: torch.dtype) -> None:
    module, (x, context) = make(row, dtype), example(row, dtype)
    module.eval()
    with torch.no_grad():
        expected = both_ways(module, x, context)
        with frozen(module):
            first, second = (both_ways(module, x, context) for _ in "ab")
        after = both_ways(module, x, context)
    for found in (first, second, after):
        assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("kind", [LUMatrix, PlainMatrix])
def test_inverses_are_made_once_within_and_anew_after(kind: type[LUMatrix]) -> None:
    layer, x = Conv1x1(kind(3)), torch.randn(2, 3)
    with torch.no_grad():
        with frozen(layer):
            kept = layer.matrix.inverse()
            with frozen(layer):
                assert layer.matrix.inverse() is kept
            assert layer.matrix.inverse() is kept
        assert layer.matrix.inverse() is not kept
        for parameter in layer.parameters():
            parameter.mul_(1.5)
        assert torch.allclose(layer.inverse(layer(x)[0])[0], x, atol=1e-4)


def test_gradients_are_refused() -> None:
    layer = Conv1x1(LUMatrix(3))
    with frozen(layer), pytest.raises(GlowkitError, match="frozen model gives no gradients"):
        layer(torch.randn(2, 3))
    layer(torch.randn(2, 3))[0].sum().backward()


def test_a_copy_is_not_frozen() -> None:
    layer, x = Conv1x1(LUMatrix(3)), torch.randn(2, 3, dtype=torch.float64)
    with torch.no_grad(), frozen(layer):
        layer(x.float())
        twin = copy.deepcopy(layer).double()
        twin.matrix.packed.mul_(1.5)
        assert torch.allclose(twin.inverse(twin(x)[0])[0], x, atol=1e-9)
        with frozen(twin):
            assert twin.matrix.inverse() is twin.matrix.inverse()


def test_threads() -> None:
    """One that leaves thaws what another still uses: slower, and right."""
    images = torch.arange(64, dtype=torch.uint8).view(4, 1, 4, 4)
    torch.manual_seed(0)
    model = build(GlowConfig((1, 4, 4), levels=1, steps=2, width=4))
    initialize(model, images)
    noises, _ = model.encode(images)
    expected = model.decode(noises)[1].detach()
    wrong = []

    def work() -> None:
        for _ in range(20):
            with torch.no_grad(), frozen(model):
                if not torch.equal(model.decode(noises)[1], expected):
                    wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert all("made_once" not in vars(module) for module in model.modules())


def test_threads_that_come_and_go_at_once() -> None:
    """Between any two instructions: each place is set by one of them, who empties it."""
    model = build(GlowConfig((1, 4, 4), levels=1, steps=2, width=4))
    failed: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(500):
                with torch.no_grad(), frozen(model):
                    pass
        except Exception as error:
            failed.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not failed
    assert not any(is_frozen(module) for module in model.modules())
