"""Chains: what they say of themselves, and of the bijection that failed."""

import pytest
import torch

from glowkit import Chain, GlowConfig, build
from glowkit.bijections import Actnorm, Coupling, Permute, Shift, Squeeze, TanhAffine
from glowkit.core.chain import MEMORY_MODES
from glowkit.nets import MLP


@pytest.mark.parametrize("memory", ["store", "checkpoint"])
def test_the_bijection_that_failed_is_named_with_the_shape_it_got(memory: str) -> None:
    chain = Chain([Shift(1.0), Chain([Squeeze(), Permute([1, 0])], memory)], memory)
    with pytest.raises(RuntimeError) as raised:
        chain(torch.zeros(2, 1, 4, 5, requires_grad=True))
    assert raised.value.__notes__ == [
        "Squeeze, number 0 of its chain, was given (2, 1, 4, 5)",
        "Chain, number 1 of its chain, was given (2, 1, 4, 5)",
    ]


def test_also_on_the_way_back() -> None:
    coupling = Coupling(1, MLP(1, 2, width=4), TanhAffine(1.0))
    with pytest.raises(ValueError, match="conditioner gave") as raised:
        Chain([coupling, Shift(1.0)]).inverse(torch.zeros(3, 5))
    assert raised.value.__notes__ == [
        "the inverse of Coupling, number 1 from the end, was given (3, 5)"
    ]


def test_sentences_of_ours_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match="has not seen data yet") as raised:
        Chain([Actnorm(2)])(torch.zeros(3, 2))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("memory", MEMORY_MODES)
def test_a_model_prints_its_sizes_and_nothing_internal(memory: str) -> None:
    model = build(GlowConfig((3, 8, 8), levels=2, steps=2, width=16, memory=memory))
    text = repr(model)
    for part in (
        "256 levels",
        "2 x GlowStep(",
        "12 channels",
        "(matrix): LUMatrix(12x12)",
        "keeps 6 channels",
        "ActnormConv2d(6 -> 16, 3x3)",
    ):
        assert part in text, part
    assert "ModuleList" not in text
    assert (f"memory {memory!r}" in text) == (memory != "store")
