"""Two processes against one: the same global batch, gradients averaged over gloo."""

import os
import socket
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.case import Case
from benchmarks.rounds import take_turns
from benchmarks.steps import training
from benchmarks.subjects.flow import Flow
from benchmarks.subjects.ours import Ours

PROCESSES = 2


class _Called(nn.Module):
    """A flow that is called, since DDP synchronises what goes through `forward`."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, images: Tensor) -> Tensor:
        return self.flow.log_prob(images)


class _Shared(Flow):
    """A flow whose gradients are averaged over the processes."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.shared = DistributedDataParallel(_Called(flow))

    def log_prob(self, images: Tensor) -> Tensor:
        return self.shared(images)

    def sample(self, n: int) -> Tensor:
        return self.shared.module.flow.sample(n)


def time_processes(case: Case, rounds: int, threads: int) -> dict[str, Any]:
    """Times of one process with all threads and of two with half of them each, in turns."""
    receiver, sender = get_context("spawn").Pipe(duplex=False)
    arguments = (case, rounds, threads, _free_port(), sender)
    spawn(_worker, arguments, nprocs=PROCESSES)
    return {"threads": threads, "case": asdict(case), "times": receiver.recv()}


def _worker(
    rank: int, case: Case, rounds: int, threads: int, port: int, sender: Connection
) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    try:
        torch.manual_seed(0)
        images = case.images()
        single = training(Ours(case), images)
        shared = training(_Shared(Ours(case)), images.chunk(PROCESSES)[rank])
        turns = {
            "1 process": partial(_alone, rank, single, threads),
            f"{PROCESSES} processes": partial(_together, shared, max(1, threads // PROCESSES)),
        }
        times = take_turns(turns, rounds)
        if rank == 0:
            sender.send(times)
        dist.barrier()
    finally:
        dist.destroy_process_group()


def _alone(rank: int, step: Any, threads: int) -> None:
    torch.set_num_threads(threads)
    if rank == 0:
        step()
    dist.barrier()  # the other process sleeps meanwhile


def _together(step: Any, threads: int) -> None:
    torch.set_num_threads(threads)
    step()
    dist.barrier()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
