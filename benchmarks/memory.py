"""Peak memory of a training step against depth."""

import gc
import json
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


def measure_memory(case: Case, depths: list[int]) -> Iterator[dict[str, Any]]:
    """Peak bytes of every subject at every depth K; one row each."""
    for steps in depths:
        deep = replace(case, steps=steps)
        for name, builder in builders().items():
            peak = peak_bytes(builder(deep), case.images())
            yield {"subject": name, "case": asdict(deep), "bytes": peak}
