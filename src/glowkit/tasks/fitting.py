"""A small training loop for densities of vectors, for tasks that train models of their own."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from glowkit.core import Density, GlowkitError, frozen, initialize

BATCH = 1000
EVALUATIONS = 10  # of the validation loss, evenly over a training
HELD_OUT = 0.1  # share of the examples, for validation
LARGEST_GRADIENT = 5.0  # norm
_CHUNK = 10_000  # examples evaluated at once


@dataclass(frozen=True)
class Fitted:
    """The equal mixture of one model at the best moments of its training.

    models: frozen in time, best first. validation_nats: mean −log p of held-out examples, at each
    of the training's evaluations.
    """

    models: tuple[Density, ...]
    validation_nats: tuple[float, ...]

    @torch.no_grad()
    def log_prob(self, x: Tensor, context: Tensor) -> Tensor:
        """ln of the mean of the models' densities at x (N, D), (N,) nats."""
        each = []
        for model in self.models:
            with frozen(model):
                pairs = zip(x.split(_CHUNK), context.split(_CHUNK), strict=True)
                each.append(torch.cat([model.log_prob(*pair) for pair in pairs]))
        return torch.stack(each).logsumexp(0) - math.log(len(each))

    @torch.no_grad()
    def sample(self, context: Tensor, generator: torch.Generator) -> Tensor:
        """One example for each context (N, C), in equal shares of the models."""
        count = len(self.models)
        drawn: Tensor | None = None
        for place, model in enumerate(self.models):
            own = context[place::count]
            if not len(own):
                continue
            with frozen(model):
                pieces = [
                    model.sample(len(part), context=part, generator=generator)
                    for part in own.split(_CHUNK)
                ]
            if drawn is None:
                drawn = pieces[0].new_empty(len(context), *pieces[0].shape[1:])
            drawn[place::count] = torch.cat(pieces)
        if drawn is None:
            raise GlowkitError("there is no context to sample with; give at least one")
        return drawn


def fit(
    model: Density,
    x: Tensor,
    context: Tensor,
    steps: int,
    learning_rate: float,
    generator: torch.Generator,
    best: int = 3,
) -> Fitted:
    """Train a density of x given a context by maximum likelihood, and keep its best moments.

    Adam, the learning rate falling to 0 along a cosine; a tenth of the examples is held out, and
    its mean −log p, evaluated `EVALUATIONS` times, says which moments are best. Averaging over them
    is ANODE's and CATHODE's (Hallin et al. 2021, section III). The model itself is trained.

    Shapes: x (N, D), context (N, C). Cost: `steps` batches of `BATCH`, and the evaluations.

    Raises:
        GlowkitError: when no evaluation gives a finite loss.
    """
    order = torch.randperm(len(x), generator=generator)
    held = order[: max(1, round(HELD_OUT * len(x)))]
    rows = order[len(held) :]
    initialize(model, x[rows[: 4 * BATCH]], context[rows[: 4 * BATCH]])
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches = _batches(rows, generator)
    moments: list[tuple[float, Density]] = []
    model.train()
    for step in range(1, steps + 1):
        batch = next(batches)
        loss = -model.log_prob(x[batch], context[batch]).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        if step * EVALUATIONS // steps > (step - 1) * EVALUATIONS // steps:
            now = copy.deepcopy(model).eval().requires_grad_(False)
            nats = -Fitted((now,), ()).log_prob(x[held], context[held]).mean().item()
            moments.append((nats, now))
    model.eval()
    usable = sorted((one for one in moments if math.isfinite(one[0])), key=lambda one: one[0])
    if not usable:
        raise GlowkitError(
            "a flow could not be trained: its loss is not finite; look for features whose values"
            " span too many orders of magnitude, and take logarithms of them"
        )
    history = tuple(value for value, _ in moments)
    return Fitted(tuple(one for _, one in usable[:best]), history)


def _batches(rows: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches without end, every example once a pass; a last, smaller one goes to the next pass."""
    size = min(BATCH, len(rows))
    while True:
        shuffled = rows[torch.randperm(len(rows), generator=generator)]
        yield from (part for part in shuffled.split(size) if len(part) == size)
