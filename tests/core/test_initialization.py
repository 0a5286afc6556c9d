"""Which layers see data, on every Python: `isinstance` of a protocol does not see buffers."""

import pytest
import torch
from torch import nn

import glowkit
from glowkit.core.initialization import is_data_dependent
from glowkit.models import PRESETS, build
from glowkit.models.points import PointsConfig


def test_a_layer_of_ones_own_is_initialised_without_extending_anything() -> None:
    class Centre(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("initialized", torch.tensor(False))

        def initialize_from(self, x: torch.Tensor) -> None:
            """Nothing to set."""

    assert is_data_dependent(Centre())
    assert not is_data_dependent(nn.Linear(1, 1))


@pytest.mark.parametrize("normalization", ["actnorm", "batch-norm", "diagonal"])
def test_every_layer_that_waits_for_data_is_found(normalization: str) -> None:
    model = build(PointsConfig(steps=2, width=4, normalization=normalization))
    flags = [name for name, _ in model.named_buffers() if name.endswith("initialized")]
    assert flags
    assert glowkit.initialize(model, torch.randn(8, 2)) == len(flags)
    assert all(model.get_buffer(name) for name in flags)
    assert glowkit.initialize(model, torch.randn(8, 2)) == 0


@pytest.mark.parametrize("name", [name for name in PRESETS if name.endswith("-points")])
def test_a_model_called_is_its_log_prob(name: str) -> None:
    model, x = build(name), torch.randn(8, 2)
    glowkit.initialize(model, x)
    called, log_p = (f(x, generator=glowkit.MIDPOINT) for f in (model, model.log_prob))
    assert torch.equal(called, log_p)
