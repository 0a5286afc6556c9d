"""Cells of the table: a family, some data and a seed, trained for some processor time."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.budgeted import descend
from benchmarks.families.subjects import SUBJECTS, Subject
from glowkit import Density, build, frozen, initialize
from glowkit.data import open_source
from glowkit.models.families import (
    Config,
    count_parameters,
    from_settings,
    preset,
)
from glowkit.system.files import write_atomically
from glowkit.training.config import learning_rate_factor
from glowkit.training.objective import objective_of
from glowkit.training.passes import Loss

POINTS = ("points:moons", "points:8gaussians", "points:checkerboard", "points:2spirals")
DIGITS = "digits"
PARAMETERS = 20_000
RATE, WARM_UP, CLIP, DECAY = 2e-3, 20, 1.0, 0.99
BATCHES = {"points": 256, "images": 64}
TEST_POINTS = 4000
VALIDATED = 1000
SAMPLES = 16  # importance samples of a bound

Cells = dict[str, dict[str, Any]]


def config_of(subject: Subject, data: str) -> Config | None:
    """The config of a family for some data; of points with about as many parameters as all."""
    if data == DIGITS:
        return preset(subject.digits) if subject.digits else None
    if not subject.points:
        return None
    start: Config = from_settings(subject.points)
    if not subject.sized:
        return start
    low, high = 2, 512  # parameters grow with the width
    while high - low > 1:
        middle = (low + high) // 2
        few = count_parameters(replace(start, **{subject.sized: middle})) <= PARAMETERS
        low, high = (middle, high) if few else (low, middle)
    return replace(start, **{subject.sized: low})


def name_of(subject: Subject, data: str, seed: int, seconds: float) -> str:
    """Of a cell in the file of results: another budget is another cell."""
    return f"{subject.name} | {data} | {seconds:g} s | {seed}"


def batches(x: Tensor, size: int, seed: int) -> Iterator[Tensor]:
    """Batches of an endless shuffle."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        for rows in torch.randperm(len(x), generator=generator).split(size):
            if len(rows) == min(size, len(x)):
                yield x[rows]


def trained(
    config: Config, x: Tensor, source: Any, seconds: float, seed: int
) -> tuple[Density, int]:
    """A model after so much processor time of this process; its steps.

    Its weights are averaged, and of those that it had at each tenth of the time the best by the
    validation split are kept, since some families overfit the digits before their time is over.
    """
    torch.manual_seed(seed)
    model = build(config).train()
    subject = objective_of(model, source)
    loss_of, noise = Loss(model, subject), torch.Generator().manual_seed(seed)
    taken = batches(x, BATCHES[subject.things], seed)
    initialize(model, next(taken), generator=noise)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    validation = _all(source.splits["validation"])[:VALIDATED]

    def judge() -> float:
        with frozen(model.eval()), torch.no_grad():
            losses = [
                -model.log_prob(part, generator=torch.Generator().manual_seed(0)).mean()
                for part in validation.split(250)
            ]
        model.train()
        return float(torch.stack(losses).nan_to_num(math.inf).mean())

    steps, _ = descend(
        model,
        optimizer,
        lambda: loss_of(next(taken), None, noise)[0],
        lambda step, done: RATE * learning_rate_factor(step, done, WARM_UP),
        lambda step, used: used / seconds,
        CLIP,
        DECAY,
        judge,
    )
    return model.eval(), steps


def measured(subject: Subject, data: str, seed: int, seconds: float) -> dict[str, Any] | None:
    """The figures of one cell; None where a family has no model for these data."""
    config = config_of(subject, data)
    if config is None:
        return None
    source = open_source(data)
    train, test = (_all(source.splits[name]) for name in ("train", "test"))
    model, steps = trained(config, train, source, seconds, seed)
    objective = objective_of(model, source)
    samples = SAMPLES if model.log_p_kind == "bound" else 1
    test = test[:TEST_POINTS]
    with frozen(model):
        found = objective.evaluate(
            model,
            source,
            [(part, None) for part in test.split(1000)],
            samples,
            torch.Generator().manual_seed(seed),
        )
    points = data != DIGITS
    return {
        "figure": found["paired_kl_nats" if points else "bits_per_dim"],
        "standard_error": found["paired_standard_error" if points else "standard_error"],
        "kind": found["kind"],
        "importance_samples": samples,
        "parameters": count_parameters(config),
        "steps": steps,
        "seconds": seconds,
    }


def _all(split: Any) -> Tensor:
    taken = split.__getitems__(list(range(len(split))))
    return torch.as_tensor(taken[0] if isinstance(taken, tuple) else taken)


def read_cells(path: Path) -> Cells:
    return json.loads(path.read_text()) if path.exists() else {}


def measure_all(
    path: Path, seeds: int, seconds: dict[str, float], only: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure the cells that a file of results lacks, and keep each there as it is done.

    seconds: of processor time, of "points" and of "digits". A first seed of all comes first.
    """
    for seed in range(seeds):
        for data in (*POINTS, DIGITS):
            budget = seconds["digits" if data == DIGITS else "points"]
            for subject in SUBJECTS:
                name = name_of(subject, data, seed, budget)
                cells = read_cells(path)
                if name in cells or (only and only not in name):
                    continue
                found = measured(subject, data, seed, budget)
                if found is not None:
                    write_atomically(path, json.dumps(cells | {name: found}, indent=1).encode())
                    yield name, found
