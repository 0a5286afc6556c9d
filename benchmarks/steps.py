"""Time of a training step, of density evaluation and of sampling."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from benchmarks import limit
from benchmarks.case import Case
from benchmarks.floor import LAYOUTS, Floor
from benchmarks.rounds import take_turns
from benchmarks.subjects import (
    PEERS,
    autocast_peers,
    builders,
    compiled_peer,
    without_kernels,
)
from benchmarks.subjects.flow import Flow
from benchmarks.subjects.ours import PREFIX
from glowkit.training.config import make_optimizer

STORED, RECOMPUTING, REVERSIBLE = (PREFIX + m for m in ("store", "recompute", "reversible"))


def training(model: Flow, images: Tensor) -> Callable[[], object]:
    """Forward, backward and optimiser step; every subject has glowkit's optimiser."""
    optimizer = make_optimizer("adamw", model, 1e-5, 0.0)
    model.train()

    def run() -> None:
        optimizer.zero_grad()
        (-model.log_prob(images).mean()).backward()
        optimizer.step()

    return run


def density(model: Flow, images: Tensor) -> Callable[[], object]:
    """log p of a batch, without gradients."""
    model.rest()
    return torch.no_grad()(lambda: model.log_prob(images))


def sampling(model: Flow, images: Tensor) -> Callable[[], object]:
    """A batch of samples."""
    model.rest()
    return lambda: model.sample(len(images))


TASKS = {"training": training, "density": density, "sampling": sampling}


def time_steps(
    case: Case, rounds: int, threads: int, compiled: bool = False
) -> list[dict[str, Any]]:
    """Time every subject, both floors and the arithmetic limit; one row of raw times a task.

    Memory modes differ in training only; the other tasks have glowkit once. In bfloat16, the peers
    are there twice: as they are, in float32, and with their conditioners under autocast; and,
    `compiled`, one is there once more in training in float32, under torch.compile.
    """
    torch.set_num_threads(threads)
    images = case.images()
    casts = autocast_peers() if case.precision != "float32" else {}
    others = {**casts, **without_kernels()}
    compilers = compiled_peer() if compiled and case.precision == "float32" else {}
    every = builders() | others | compilers
    models = {name: builder(case) for name, builder in every.items()}
    floors = {name: Floor(case, layout) for name, layout in LAYOUTS.items()}
    bound = limit.arithmetic(case.precision, threads)
    rows = []
    for task, prepare in TASKS.items():
        trains = task == "training"
        names = models if trains else [STORED, *PEERS, *others]
        runs: dict[str, Callable[[], object]] = {
            name: prepare(models[name], images) for name in names
        }
        for name, floor in floors.items():
            runs[name] = floor.forward_and_backward if trains else floor.forward
        times = take_turns({**runs, limit.NAME: bound}, rounds)
        rows.append({"task": task, "threads": threads, "case": asdict(case), "times": times})
    return rows
