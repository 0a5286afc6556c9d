"""Derivatives of any order of whole models: every kind of preset, in every memory mode."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state

from glowkit.core import MIDPOINT, Density, GlowkitError, initialize
from glowkit.core.chain import MEMORY_MODES
from glowkit.models import PRESETS, Config
from glowkit.models.autoregressive import AutoregressiveConfig
from glowkit.models.continuous import ContinuousConfig
from glowkit.models.families import build
from glowkit.models.flowpp import FlowPPConfig
from glowkit.models.glow import GlowConfig
from glowkit.models.jet import JetConfig
from glowkit.models.nice import NICEConfig
from glowkit.models.points import PointsConfig
from glowkit.models.realnvp import RealNVPConfig
from glowkit.models.resflow import ResFlowConfig
from glowkit.models.residual import ResidualConfig
from laws.derivatives import (
    Function,
    Values,
    derivative,
    differences,
    draw,
    error,
    function_of,
    leaves,
)

TOLERANCE = 1e-6


def small(config: Config, memory: str) -> Config:
    """The same settings but for the sizes."""
    if isinstance(config, GlowConfig):
        sizes: dict[str, Any] = {"image_shape": (1, 4, 8), "levels": 2, "steps": 2, "width": 5}
        sizes |= {"components": 2} if config.coupling == "mixture" else {}
        if config.dequantization == "variational":
            sizes |= {"dequantization_steps": 1, "dequantization_width": 4}
        if config.augmentation == "variational":
            sizes |= {"augmentation_steps": 1, "augmentation_width": 4}
    elif isinstance(config, FlowPPConfig):
        sizes = {"image_shape": (1, 4, 8), "couplings": ((0, 2), (1, 1)), "width": 4, "blocks": 1}
        sizes |= {"components": 2, "dequantization_couplings": 1, "dequantization_blocks": 1}
        sizes |= {"context_blocks": 1, "context_width": 4}
    elif isinstance(config, RealNVPConfig):
        sizes = {"image_shape": (1, 4, 8), "levels": 2, "blocks": 1, "width": 4}
    elif isinstance(config, JetConfig):
        sizes = {"image_shape": (1, 4, 4), "patch": 2, "couplings": 2, "channel_couplings": 1}
        sizes |= {"layers": 1, "width": 4, "heads": 2}
    elif isinstance(config, NICEConfig):
        sizes = {"image_shape": (1, 3, 3), "width": 6, "depth": 2}
    elif isinstance(config, ResidualConfig):
        sizes = {"blocks": 2, "width": 6, "depth": 1}
    elif isinstance(config, ContinuousConfig):
        return replace(config, width=6, depth=1, steps=2)
    else:
        assert isinstance(config, PointsConfig)
        sizes = {"steps": min(config.steps, 6), "width": 8}
    return replace(config, memory=memory, **sizes)


def family(config: Config) -> Config:
    """Equal for presets that differ in sizes alone."""
    return (
        replace(small(config, "store"), pixel_levels=16)
        if hasattr(config, "image_shape")
        else (small(config, "store"))
    )


DISTINCT = {
    family(config): name
    for name, config in PRESETS.items()
    if not isinstance(config, AutoregressiveConfig | ResFlowConfig)
}
"""One preset of each kind that has a memory mode, and log p of no random terms."""


def preset_function(name: str, memory: str) -> tuple[Function, Values]:
    """log p by vectors, or by the continuous images of a Dequantize, and by parameters."""
    torch.manual_seed(0)
    model = build(small(PRESETS[name], memory)).double()
    config: Any = model.config
    labels: Tensor | None = None
    if hasattr(config, "image_shape"):
        images = torch.randint(0, config.pixel_levels, (16, *config.image_shape))
        classes = torch.arange(16) % config.classes if config.classes else None
        initialize(model, images, classes)
        labels = None if classes is None else classes[:2]
        density: Density = model.density  # type: ignore[assignment]
        x = (images[:2] + 0.4) / config.pixel_levels
    else:
        initialize(model, torch.randn(16, 2, dtype=torch.float64))
        density, x = model, torch.randn(2, 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    density.eval()
    return function_of(density, lambda x: [density.log_prob(x, labels, MIDPOINT)], x.double())


@pytest.mark.parametrize("name", DISTINCT.values())
def test_presets(name: str) -> None:
    """Second derivatives in every memory mode are central differences."""
    expected: Values | None = None
    for memory in MEMORY_MODES:
        function, values = preset_function(name, memory)
        direction = draw(values)
        # Once: first derivatives of all modes are equal (tests/core/test_memory.py).
        expected = expected or differences(function, values, direction, 2)
        found = derivative(function, leaves(values), direction, 2)
        assert error(found, expected) < TOLERANCE, memory


def test_score_matching_trains_as_by_central_differences() -> None:
    """The gradient by parameters of a penalty on the gradient by inputs."""
    model = build(PointsConfig(steps=2, width=8, coupling="affine")).double()
    initialize(model, torch.randn(16, 2, dtype=torch.float64))
    x = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)

    def penalty() -> Tensor:
        (score,) = torch.autograd.grad(model.log_prob(x).sum(), x, create_graph=True)
        return score.square().sum()

    model.train()
    penalty().backward()
    for parameter in model.parameters():
        step = torch.zeros_like(parameter)
        step.view(-1)[0] = 1e-6
        with torch.no_grad():
            parameter.add_(step)
        above = penalty().item()
        with torch.no_grad():
            parameter.sub_(2 * step)
        below = penalty().item()
        with torch.no_grad():
            parameter.add_(step)
        slope = 0.0 if parameter.grad is None else parameter.grad.view(-1)[0].item()
        assert abs(slope - (above - below) / 2e-6) < 1e-6 * (1 + abs(slope))


@pytest.mark.parametrize("name", DISTINCT.values())
def test_gradients_of_each_example_and_ensembles(name: str) -> None:
    """`vmap` over data, images and labels as they are, and over models."""
    torch.manual_seed(0)
    model = build(small(PRESETS[name], "checkpoint")).double()
    config: Any = model.config
    x, labels, generator = torch.randn(4, 2, dtype=torch.float64), None, MIDPOINT
    if hasattr(config, "image_shape"):
        x = torch.randint(0, config.pixel_levels, (4, *config.image_shape))
        labels = torch.arange(4) % config.classes if config.classes else None
    initialize(model, x, labels)
    parameters = dict(model.named_parameters())

    def log_prob(state: dict[str, Tensor], one: Tensor, label: Tensor | None) -> Tensor:
        given = one[None], None if label is None else label[None], generator
        return functional_call(model, state, given)[0]

    places = (None, 0, None if labels is None else 0)
    found = torch.vmap(grad(log_prob), places)(parameters, x, labels)
    label = None if labels is None else labels[1]
    alone = grad(log_prob)(parameters, x[1], label)
    assert error([one[1] for one in found.values()], list(alone.values())) < TOLERANCE
    if labels is not None:
        with pytest.raises(GlowkitError, match="class 99 does not exist"):
            torch.vmap(log_prob, places)(parameters, x, labels + 99 - labels[0])

    def member(*state: Any) -> Tensor:
        return functional_call(model, state, (x, labels, generator))

    together = torch.vmap(member)(*stack_module_state([model, model]))
    expected = model.log_prob(x, labels, generator)
    assert error([*together], [expected, expected]) < TOLERANCE
