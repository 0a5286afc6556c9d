"""A training step of a large Glow within a limit of memory: the largest batch that fits."""

import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmarks.case import Case
from benchmarks.steps import training
from benchmarks.subjects.flow import Builder
from glowkit import GlowkitError, keep_freed_memory

GIB = 2**30

OUT_OF_MEMORY = ("can't allocate memory", "bad_alloc", "could not create a memory", "out of memory")
"""What torch and its kernel libraries say when an allocation fails."""


def measure_large(
    case: Case, builders: dict[str, Builder], gib: int, threads: int
) -> Iterator[dict[str, Any]]:
    """For each subject: the case's batch, halved until a step fits; its seconds and peak bytes.

    Each attempt is a process of its own that may not have more than that many GiB of data. The
    batch is 0 where not even one image fits.
    """
    return (_largest(case, name, builder, gib, threads) for name, builder in builders.items())


def _largest(case: Case, name: str, builder: Builder, gib: int, threads: int) -> dict[str, Any]:
    batch = case.batch
    while batch:
        found = _attempt(replace(case, batch=batch), name, builder, gib, threads)
        if found:
            return {"subject": name, "case": asdict(case), "gib": gib, "batch": batch, **found}
        batch //= 2
    return {"subject": name, "case": asdict(case), "gib": gib, "batch": 0}


def _attempt(case: Case, name: str, builder: Builder, gib: int, threads: int) -> dict[str, float]:
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_worker, args=(case, builder, gib, threads, sender))
    process.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        raise GlowkitError(f"{name} ended without an answer on {case}") from None
    finally:
        process.join()
    if isinstance(answer, str):
        raise GlowkitError(f"{name} failed on {case}: {answer}")
    return answer


def _worker(case: Case, builder: Builder, gib: int, threads: int, sender: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (gib * GIB, gib * GIB))
    keep_freed_memory()
    torch.set_num_threads(threads)
    try:
        step = training(builder(case), case.images())
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
    except Exception as error:  # of whatever kind a library raises; the parent tells it
        sender.send({} if _is_full(error) else str(error))
        return
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sender.send({"seconds": seconds, "bytes": peak})


def _is_full(error: BaseException | None) -> bool:
    """Whether memory ran out; some libraries raise errors of their own from torch's."""
    if error is None:
        return False
    full = isinstance(error, MemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)
    return full or _is_full(error.__cause__ or error.__context__)
