"""How far the gradients of a memory mode are from those of stored activations, against depth."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.case import Case
from benchmarks.subjects.flow import Flow
from benchmarks.subjects.ours import Ours
from glowkit.core.chain import MEMORY_MODES
from glowkit.training.config import make_optimizer

STORED = "store"
TRAINED = 50
"""Training steps beforehand: couplings of a fresh Glow are constant, and would hide an error."""

LEARNING_RATE = 2e-4


def gradient(model: Flow, images: Tensor) -> Tensor:
    """All gradients of the mean log-likelihood, as one vector in float64."""
    model.zero_grad()
    model.log_prob(images).mean().backward()
    return torch.cat([p.grad.double().flatten() for p in model.parameters() if p.grad is not None])


def measure_drift(case: Case, depths: list[int]) -> Iterator[dict[str, Any]]:
    """‖g − g₆₄‖ / ‖g₆₄‖ of every mode in the case's precision; g₆₄ is stored, in float64.

    That of "store" is the rounding which no mode can avoid.
    """
    for steps in depths:
        deep = replace(case, steps=steps)
        images = case.images()
        torch.manual_seed(0)
        models = {mode: Ours(deep, mode) for mode in MEMORY_MODES}
        weights = _trained(models[STORED], images)
        for model in models.values():
            model.load_state_dict(weights)
        exact = Ours(replace(deep, precision="float32"), STORED)
        exact.load_state_dict(weights)
        truth = gradient(exact.double(), images.double())
        for mode, model in models.items():
            error = (gradient(model, images) - truth).norm() / truth.norm()
            yield {"mode": mode, "case": asdict(deep), "error": error.item()}


def _trained(model: Flow, images: Tensor) -> dict[str, Tensor]:
    optimizer = make_optimizer("adamw", model, LEARNING_RATE, 0.0)
    for _ in range(TRAINED):
        optimizer.zero_grad()
        (-model.log_prob(images).mean()).backward()
        optimizer.step()
    return model.state_dict()
