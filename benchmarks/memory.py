"""Peak memory of a training step against depth."""

import ctypes
import gc
import json
import multiprocessing
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.case import Case
from benchmarks.subjects import builders
from benchmarks.subjects.flow import Flow

MEMORY_EVENT = "[memory]"
"""What torch's trace calls an allocation, or a release, which has negative bytes."""


def peak_bytes(model: Flow, images: Tensor) -> int:
    """Most bytes of tensors alive at once in a forward and backward pass, above those before it.

    So without parameters, and without gradients, which are there before; what a convolution
    allocates inside its kernel library is not counted.
    """
    model.train()
    for _ in range(2):  # caches, and the gradients that stay
        (-model.log_prob(images).mean()).backward()
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        (-model.log_prob(images).mean()).backward()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        trace.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = sorted(
        (event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == MEMORY_EVENT
    )
    return max(accumulate(change for _, change in changes))


def resident_bytes(model: Flow, images: Tensor) -> int | None:
    """How far the process grows in a forward and backward pass, as Linux counts it; else None.

    So with what kernel libraries allocate inside, and what is lost between pieces of memory.
    Memory that was freed before is handed back first, so the process must not keep it.
    """
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not reset.exists():
        return None
    model.train()
    for _ in range(2):
        (-model.log_prob(images).mean()).backward()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")  # the peak is what there is now
    before = _kilobytes(status, "VmRSS")
    (-model.log_prob(images).mean()).backward()
    return 1024 * (_kilobytes(status, "VmHWM") - before)


def _kilobytes(status: Path, name: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def _of_subject(name: str, case: Case) -> dict[str, Any]:
    builder = builders()[name]
    resident = resident_bytes(builder(case), case.images())
    peak = peak_bytes(builder(case), case.images())
    return {"subject": name, "case": asdict(case), "bytes": peak, "resident": resident}


def measure_memory(case: Case, depths: list[int]) -> Iterator[dict[str, Any]]:
    """Peak bytes of every subject at every depth K, each in a process of its own; one row each."""
    spawn = multiprocessing.get_context("spawn")
    for steps in depths:
        for name in builders():
            with spawn.Pool(1) as process:
                yield process.apply(_of_subject, (name, replace(case, steps=steps)))
