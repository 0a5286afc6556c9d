"""A model whose state is that of one that has seen no data is refused, whatever it was before."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from glowkit.core import GlowkitError, initialize
from glowkit.models.families import build
from glowkit.models.glow import GlowConfig

CONFIG = GlowConfig((1, 4, 4), levels=1, steps=1, width=4)
IMAGES = torch.arange(64, dtype=torch.uint8).view(4, 1, 4, 4)


def fresh() -> Any:
    torch.manual_seed(0)
    return build(CONFIG)


def flags(model: Any) -> list[torch.Tensor]:
    return [buffer for name, buffer in model.named_buffers() if name.endswith("initialized")]


CHANGES: dict[str, Callable[[Any], Any]] = {
    "load_state_dict": lambda model: model.load_state_dict(fresh().state_dict()),
    "assigned": lambda model: model.load_state_dict(fresh().state_dict(), assign=True),
    "in place": lambda model: [flag.fill_(False) for flag in flags(model)],
    "through data": lambda model: [flag.data.fill_(False) for flag in flags(model)],
    "inference": lambda model: torch.inference_mode()(
        lambda: [flag.fill_(False) for flag in flags(model)]
    )(),
}


@pytest.mark.parametrize("use", ["log_prob", "sample"])
@pytest.mark.parametrize("change", CHANGES)
def test_it_is_refused_again(change: str, use: str) -> None:
    model = fresh()
    initialize(model, IMAGES)
    for training in (False, True):
        model.train(training).log_prob(IMAGES)
    with torch.no_grad():
        model.log_prob(IMAGES)
    CHANGES[change](model)
    for again in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.double()):
        with pytest.raises(GlowkitError, match="has not seen data yet"):
            again.log_prob(IMAGES) if use == "log_prob" else again.sample(1)


def test_ensembles_under_vmap_ask_all_members() -> None:
    models = [fresh() for _ in range(2)]
    for model in models:
        initialize(model, IMAGES)

    def log_prob(parameters: Any, buffers: Any) -> torch.Tensor:
        state = (parameters, buffers)
        density = models[0].density
        return torch.func.functional_call(density, state, (IMAGES / 256 + 0.001,))

    state = torch.func.stack_module_state([model.density for model in models])
    found = torch.vmap(log_prob)(*state)
    expected = models[1].density.log_prob(IMAGES / 256 + 0.001)
    assert torch.allclose(found[1], expected, atol=1e-3)
    for name, buffer in state[1].items():
        if name.endswith("initialized"):
            buffer[1] = False
    with pytest.raises(GlowkitError, match="has not seen data yet"):
        torch.vmap(log_prob)(*state)
