"""Steps and memory on a GPU: as every library's users run it, under torch.compile, as a graph."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.case import Case
from benchmarks.rounds import take_turns
from benchmarks.steps import STORED, TASKS
from benchmarks.subjects import autocast_peers, builders, ours
from benchmarks.subjects.flow import Builder, Compiled, Flow
from benchmarks.subjects.ours import PREFIX, Ours
from glowkit import GlowkitError
from glowkit.training.config import make_optimizer

DEVICE = "cuda"
COMPILED, GRAPH = PREFIX + "compiled", PREFIX + "graph"
WARM_UP = 3
"""Runs before a graph is captured, so that libraries have chosen and allocated."""


def need_device() -> None:
    """Raise GlowkitError without a GPU."""
    if not torch.cuda.is_available():
        raise GlowkitError("there is no CUDA device here; python -m benchmarks steps is for CPUs")


def time_gpu_steps(case: Case, rounds: int, compiled: bool = False) -> Iterator[dict[str, Any]]:
    """Every subject's training step, density evaluation and sampling; one row of times a task.

    In bfloat16 the peers' conditioners are under autocast. Ours has a training step captured
    as one CUDA graph, too, and, `compiled`, which takes minutes, under torch.compile.
    """
    need_device()
    images = case.images().to(DEVICE)
    peers = {n: b for n, b in builders().items() if not n.startswith(PREFIX)}
    others = autocast_peers() if case.precision != "float32" else peers
    compilers: dict[str, Builder] = {COMPILED: partial(Compiled, Ours)} if compiled else {}
    models = {n: b(case).to(DEVICE) for n, b in (ours() | others | compilers).items()}
    captured = Ours(case).to(DEVICE)
    for task, prepare in TASKS.items():
        names = list(models) if task == "training" else [STORED, *others]
        with torch.device(DEVICE):
            runs = {name: _finished(prepare(models[name], images)) for name in names}
            if task == "training":
                runs[GRAPH] = _finished(captured_step(captured, images))
            times = take_turns(runs, rounds)
        yield {"task": task, "case": asdict(case), "device": _name(), "times": times}


def _name() -> str:
    return torch.cuda.get_device_name()


def _finished(run: Callable[[], object]) -> Callable[[], None]:
    """Until the device has done it: it works on after the call that asks for it returns."""

    def whole() -> None:
        run()
        torch.cuda.synchronize()

    return whole


def captured_step(model: Flow, images: Tensor) -> Callable[[], object]:
    """The training step as one CUDA graph: kernels are launched without Python."""
    optimizer = make_optimizer("adamw", model, 1e-5, 0.0)
    for group in optimizer.param_groups:
        group["capturable"] = True
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (-model.log_prob(images).mean()).backward()
        optimizer.step()

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure_gpu_memory(case: Case, depths: list[int]) -> Iterator[dict[str, Any]]:
    """Peak bytes of a forward and backward pass above those before it, and its seconds."""
    need_device()
    for steps in depths:
        deep = replace(case, steps=steps)
        images = deep.images().to(DEVICE)
        for name, builder in builders().items():
            yield {"subject": name, "case": asdict(deep), **_peak(builder, deep, images)}


def _peak(builder: Builder, case: Case, images: Tensor) -> dict[str, float]:
    model = builder(case).to(DEVICE)
    model.train()
    with torch.device(DEVICE):
        for _ in range(2):  # caches, and the gradients that stay
            (-model.log_prob(images).mean()).backward()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before, start = torch.cuda.memory_allocated(), time.perf_counter()
        (-model.log_prob(images).mean()).backward()
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return {"bytes": torch.cuda.max_memory_allocated() - before, "seconds": seconds}
