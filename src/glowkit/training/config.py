"""Settings of a training run, its optimisers and its schedule of learning rates."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

import torch
from torch import nn

from glowkit.nets.fast import PRECISIONS
from glowkit.system.errors import GlowkitError, shown
from glowkit.training.muon import Muon


def _of_parameters(
    make: Callable[..., torch.optim.Optimizer], **how: bool
) -> Callable[..., torch.optim.Optimizer]:
    def of_model(model: nn.Module, **settings: Any) -> torch.optim.Optimizer:
        return make([p for p in model.parameters() if p.requires_grad], **how, **settings)

    return of_model


# One kernel for all tensors of a model, which halves the time of a step on small models; torch has
# no fused Adamax.
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamax": _of_parameters(torch.optim.Adamax, foreach=True),
    "adamw": _of_parameters(torch.optim.AdamW, fused=True),
    "muon": Muon,
}


def make_optimizer(
    name: str,
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    beta2: float = 0.999,
) -> torch.optim.Optimizer:
    """The named optimizer over the parameters of a model that require gradients."""
    return OPTIMIZERS[name](model, lr=learning_rate, weight_decay=weight_decay, betas=(0.9, beta2))


LONGEST_WARMUP = 0.1  # of the budget


def learning_rate_factor(step: int, progress: float, warmup_steps: int) -> float:
    """Linear warm-up by steps, times a cosine that reaches zero when the budget is used up.

    step: steps taken so far; progress: the part of the budget used, in [0, 1]. Warm-up ends after
    a tenth of the budget at the latest, or a short run would be all warm-up.

    >>> [round(learning_rate_factor(step, step / 4, 2), 3) for step in range(5)]
    [0.5, 0.854, 0.5, 0.146, 0.0]
    """
    by_steps = (step + 1) / warmup_steps if warmup_steps else 1.0
    warmup = min(1.0, max(by_steps, progress / LONGEST_WARMUP))
    return warmup * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def ema_decay_at(updates: int, decay: float) -> float:
    """The decay of the next update of averaged weights, after `updates` of them.

    Grows from 0.1, so that a short run is not an average with its random start.

    >>> ema_decay_at(0, 0.999), ema_decay_at(10**6, 0.999)
    (0.1, 0.999)
    """
    return min(decay, (1 + updates) / (10 + updates))


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Give `epochs` or `minutes`, not both: the learning rate follows the budget.

    batch_size: images a step, over all devices and hosts together.
    learning_rate: the peak, reached after `warmup_steps`; a cosine then takes it to zero.
    optimizer: "adamw", "adamax" as openai/glow, or "muon", which is for transformers. On small
        budgets AdamW is far ahead of Adamax: on Fashion-MNIST 4.60 bits/dim against 5.20 after 290
        steps.
    beta2: decay of the optimiser's mean of squared gradients; 0.95 is usual for transformers.
    clip_norm: gradients are scaled down to this Euclidean norm; None leaves them alone.
    precision: of the conditioners in training steps, "float32" or "bfloat16"; None is the model's
        own. What is evaluated, sampled and saved computes as the model's config says, so that
        latents stay exact.
    ema_decay: of the averaged weights, which are what is evaluated, sampled and saved.
    epochs, minutes: the budget; minutes count evaluations too, but not the time between a
        run and its resumption.
    evaluate_every: minutes between evaluations on the validation split; None is every epoch.
    perturb: the probability with which each value of an image, in training and validation, is
        replaced by a level drawn uniformly: for the background model of anomaly scores.
    noise: standard deviation of normal noise that every training row of a table gets anew at every
        step, in the deviations of its columns; it keeps small tables from being learned by heart.
    whole_evaluations: evaluate whole splits under a budget in minutes too, however long it takes;
        else as many examples, and as often, as `allowance` has time for.

    Raises GlowkitError for a value that cannot work.

    >>> TrainConfig(epochs=3).optimizer
    'adamw'
    """

    batch_size: int = 64
    learning_rate: float = 1e-3
    optimizer: str = "adamw"
    warmup_steps: int = 200
    weight_decay: float = 0.0
    beta2: float = 0.999
    clip_norm: float | None = 50.0
    precision: str | None = None
    ema_decay: float = 0.999
    seed: int = 0
    epochs: float | None = None
    minutes: float | None = None
    evaluate_every: float | None = None
    whole_evaluations: bool = False
    perturb: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name), str(field.type))
        if (self.epochs is None) == (self.minutes is None):
            raise GlowkitError("give a training budget: either epochs or minutes, and not both")
        for name in ("epochs", "minutes"):
            budget = getattr(self, name)
            if budget is not None and not 0 < budget < float("inf"):
                raise GlowkitError(
                    f"a training budget of {budget:g} {name} trains nothing; give more than 0"
                )
        if self.optimizer not in OPTIMIZERS:
            raise GlowkitError(
                f"unknown optimizer {shown(self.optimizer)}; choose {' or '.join(OPTIMIZERS)}"
            )
        if self.precision not in (None, *PRECISIONS):
            raise GlowkitError(
                f"unknown precision {shown(self.precision)}; choose {' or '.join(PRECISIONS)}"
            )
        for name, good, wanted in (
            ("batch_size", self.batch_size >= 1, "1 or more"),
            ("learning_rate", 0 < self.learning_rate < float("inf"), "more than 0"),
            ("warmup_steps", self.warmup_steps >= 0, "0 or more"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("beta2", 0 <= self.beta2 < 1, "at least 0 and less than 1"),
            ("clip_norm", self.clip_norm is None or self.clip_norm > 0, "more than 0"),
            ("ema_decay", 0 <= self.ema_decay < 1, "at least 0 and less than 1"),
            ("seed", self.seed >= 0, "0 or more"),
            ("noise", 0 <= self.noise < float("inf"), "0 or more"),
            ("perturb", 0 <= self.perturb < 1, "at least 0 and less than 1"),
            (
                "evaluate_every",
                self.evaluate_every is None or self.evaluate_every > 0,
                "more than 0 minutes",
            ),
        ):
            if not good:
                raise GlowkitError(f"{name} {getattr(self, name)} cannot work; give {wanted}")


def train_config_from(values: dict[str, Any]) -> TrainConfig:
    """The TrainConfig of a config file's values; GlowkitError names a setting it does not know."""
    known = [field.name for field in fields(TrainConfig)]
    for name in values:
        if name not in known:
            raise GlowkitError(f"unknown training setting {shown(name)}; known: {', '.join(known)}")
    return TrainConfig(**values)


_LARGEST = 2**63 - 1  # of what torch takes as a seed or a count


def _check_type(name: str, value: object, kind: str) -> None:
    """Refuse a value that is not of its field's type, such as "float | None"."""
    if (value is None and "None" in kind) or isinstance(value, bool) or "bool" in kind:
        good = value is None or (isinstance(value, bool) and "bool" in kind)
    elif "str" in kind:
        good = isinstance(value, str)
    else:
        number = isinstance(value, Integral if "int" in kind else Real)
        good = number and (not isinstance(value, int) or value <= _LARGEST)
    if not good:
        wanted = "text" if "str" in kind else "a whole number" if "int" in kind else "a number"
        wanted = "true or false" if "bool" in kind else wanted
        hint = "; YAML takes 1e-3 for text, and 1.0e-3 for a number" * _like_number(value)
        raise GlowkitError(
            f"{name} is {shown(value)}, of the wrong type; it must be {wanted}{hint}"
        )


def _like_number(value: object) -> bool:
    try:
        return isinstance(value, str) and "e" in value.lower() and float(value) == float(value)
    except ValueError:
        return False
