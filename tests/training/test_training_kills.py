"""Many kills at random instants, start-up included: every run goes on and ends as if unharmed.

GLOWKIT_KILLS=200 python -m pytest -m slow -s tests/training/test_training_kills.py
"""

import os
import random
import time
from pathlib import Path

import pytest
import torch
from training_runs import repeatable_rows, start

from glowkit.data import open_source
from glowkit.models.glow import GlowConfig
from glowkit.system.errors import GlowkitError
from glowkit.training import TrainConfig, loop, train
from glowkit.training.state import read_checkpoint

KILLS = int(os.environ.get("GLOWKIT_KILLS", "30"))
MODEL = GlowConfig((1, 8, 8), levels=1, steps=1, width=4, pixel_levels=17)
CONFIG = TrainConfig(epochs=2, seed=1)  # 40 steps and two evaluations


def digits_run(run: Path) -> None:
    """Train, or go on; every step has a row, and many a checkpoint."""
    torch.set_num_threads(1)
    loop.LOG_EVERY_STEPS = 1
    loop.SAVE_EVERY_SECONDS = 0.02
    resume = (run / "config.yaml").exists()
    try:
        train(open_source("digits"), MODEL, CONFIG, run, resume, accelerator="cpu", quiet=True)
    except GlowkitError as error:
        if "is finished" not in str(error):  # killed between its last word and its end
            raise


def ended(run: Path) -> list[tuple[str, ...]]:
    assert read_checkpoint(run / "checkpoints" / "last.ckpt").state.finished
    assert not [path for path in run.rglob(".*") if path.is_file()]  # locks and temporaries
    return repeatable_rows(run)


@pytest.mark.slow
def test_killed_many_times(tmp_path: Path) -> None:
    chance = random.Random(0)
    process = start(digits_run, tmp_path / "whole")
    process.join()
    begun = time.monotonic()
    process = start(digits_run, tmp_path / "again")  # the first one also waited for imports
    process.join()
    life = time.monotonic() - begun
    whole, weights = ended(tmp_path / "whole"), Path("model", "model.safetensors")
    assert len(whole) == 40
    kills = runs = 0
    while kills < KILLS:
        run = tmp_path / f"run-{runs}"
        mine = 0
        while True:
            process = start(digits_run, run)
            process.join(chance.uniform(0, life))
            if not process.is_alive():
                assert process.exitcode == 0
                life *= 0.9
                break
            process.kill()
            process.join()
            mine += process.exitcode != 0
            life *= 1.03  # where the machine has become slower, runs would never get anywhere
        assert ended(run) == whole
        assert (run / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
        kills, runs = kills + mine, runs + 1
    took = time.monotonic() - begun
    print(f"\n{kills} kills, {runs} runs in {took:.0f} s: none lost, every loss curve the same")
