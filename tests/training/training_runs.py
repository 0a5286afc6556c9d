"""A run small enough to be repeated many times, and ways to run it in other processes."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glowkit.data.source import ImageSplit, Source
from glowkit.models.glow import GlowConfig
from glowkit.training import TrainConfig, TrainResult, train
from glowkit.training.metrics import read_rows

MODEL = GlowConfig((1, 4, 4), levels=1, steps=1, width=4, pixel_levels=8)
CONFIG = TrainConfig(batch_size=16, epochs=4, warmup_steps=5, seed=3)

# Figures that do not depend on the clock.
REPEATABLE = (
    "step",
    "epoch",
    "train_bits_per_dim",
    "validation_bits_per_dim",
    "learning_rate",
    "gradient_norm",
    "skipped_steps",
)


def tiny_source(labels: bool = False) -> Source:
    """100 training images (six batches of 16 an epoch, and four images over) and 21 others."""
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 5, (142, 1, 4, 4)) + np.arange(4)).astype(np.uint8)
    classes = rng.integers(0, 3, 142) if labels else None
    parts = np.split(np.arange(142), [100, 121])
    splits = {
        name: ImageSplit(images, classes, rows)
        for name, rows in zip(("train", "validation", "test"), parts, strict=True)
    }
    return Source("tiny", splits, (1, 4, 4), 8, ("a", "b", "c") if labels else (), ())


def tiny_run(run: Path, resume: bool = False, **changes: Any) -> TrainResult:
    devices = changes.pop("devices", 1)
    config = replace(CONFIG, **changes)
    return train(
        tiny_source(), MODEL, config, run, resume, accelerator="cpu", devices=devices, quiet=True
    )


def repeatable_rows(run: Path) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in REPEATABLE) for row in read_rows(run / "metrics.csv")]


def slow_run(run: Path, resume: bool, changes: dict[str, Any], seconds: float) -> None:
    """The tiny run, with a row a step, frequent checkpoints, and time to be killed in."""
    from glowkit.tasks import likelihood
    from glowkit.training import loop

    torch.set_num_threads(1)
    loop.LOG_EVERY_STEPS = 1
    loop.SAVE_EVERY_SECONDS = 3 * seconds
    loss = likelihood.training_loss

    def slow_loss(*args: Any) -> Any:
        time.sleep(seconds)
        return loss(*args)

    likelihood.training_loss = slow_loss
    result = tiny_run(run, resume, **changes)
    (run / "result").write_text("interrupted" if result.interrupted else "done")


def start(target: Callable[..., object], *args: Any) -> BaseProcess:
    """Start a process by fork from a server that has done the slow imports but used no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["glowkit.training.fit", "glowkit.models"])
    process = context.Process(target=target, args=args)
    process.start()
    return process


def wait_for_rows(run: Path, count: int, process: BaseProcess) -> None:
    deadline = time.monotonic() + 60
    while len(read_rows(run / "metrics.csv")) < count and process.is_alive():
        assert time.monotonic() < deadline, "the run does not get anywhere"
        time.sleep(0.002)


def start_ranks(ranks: int, target: Callable[..., object], *args: Any) -> list[BaseProcess]:
    """Start processes that see the environment torchrun gives them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [start(_as_rank, rank, ranks, port, target, *args) for rank in range(ranks)]


def _as_rank(rank: int, ranks: int, port: int, target: Callable[..., object], *args: Any) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "test",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
    }
    target(*args)
