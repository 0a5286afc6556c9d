"""Background models: training on images of which some values are replaced."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from training_runs import repeatable_rows, tiny_run, tiny_source

import glowkit
from glowkit.bijections.standardize import scale_of
from glowkit.core.noise import Portion
from glowkit.data import open_source
from glowkit.models import PointsConfig
from glowkit.training import TrainConfig, fit, read_run, train
from glowkit.training.batches import UNCHANGED, Perturb
from glowkit.training.loop import Training


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("levels", [2, 17, 256, 65536])
def test_the_share_asked_for_becomes_uniform(levels: int) -> None:
    images = torch.zeros(20, 3, 40, 40, dtype=torch.int32)
    replaced = Perturb(0.25, levels)(images, noise())
    assert replaced.dtype == torch.int32
    assert (int(replaced.min()), int(replaced.max())) == (0, pytest.approx(levels - 1, rel=1e-3))
    # A part 1 / levels of the values drawn is the 0 that was there.
    share = (replaced > 0).double().mean().item()
    assert share == pytest.approx(0.25 * (1 - 1 / levels), abs=0.005)
    drawn = replaced[replaced > 0].double()
    assert drawn.mean().item() == pytest.approx(levels / 2, rel=0.02)
    assert not images.any()


def test_nothing_is_replaced_or_drawn_by_default() -> None:
    images, generator = torch.zeros(2, 1, 4, 4, dtype=torch.uint8), noise()
    assert UNCHANGED(images, generator) is images
    assert Perturb(0.0, 256)(images, generator) is images
    # Nor is anything of the step's noise used up, or repeated, where values are.
    Perturb(0.5, 256)(images, generator)
    assert torch.equal(torch.rand(3, generator=generator), torch.rand(3, generator=noise()))


def test_ranks_replace_together_what_one_would_alone() -> None:
    images, perturb = tiny_source().splits["train"].__getitems__(slice(0, 6))[0], Perturb(0.5, 8)
    alone = perturb(images, noise())
    parts = [
        perturb(images[rows], Portion(noise(), rows, 6)) for rows in (slice(0, 2), slice(2, 6))
    ]
    assert torch.equal(torch.cat(parts), alone)
    assert not torch.equal(alone, images)


def test_a_background_model_expects_what_is_replaced(tmp_path: Path) -> None:
    plain, other = tmp_path / "plain", tmp_path / "background"
    tiny_run(plain)
    tiny_run(other, perturb=0.5)
    assert read_run(other).training.perturb == 0.5
    assert "perturb: 0.5" in (other / "config.yaml").read_text()
    images, random = tiny_source().splits["test"].__getitems__(slice(0, 21))[0], torch.rand
    uniform = (random(21, 1, 4, 4, generator=noise()) * 8).to(torch.uint8)
    bits = {
        (run, name): glowkit.bits_per_dim(glowkit.load(run), x, None, noise()).mean().item()
        for run in (plain, other)
        for name, x in (("images", images), ("uniform", uniform))
    }
    assert bits[plain, "images"] < bits[other, "images"]
    assert bits[other, "uniform"] < bits[plain, "uniform"]


def test_it_is_the_same_in_every_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tiny_run(tmp_path / name, perturb=0.3, epochs=1)
    tiny_run(tmp_path / "c", epochs=1)
    rows = [repeatable_rows(tmp_path / name) for name in "abc"]
    assert rows[0] == rows[1] != rows[2]


def test_the_noise_of_rows_has_its_deviations_where_the_model_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move to another device gives a model new tensors, as is done here without one."""
    setup, loop = Fabric.setup_module, fit.train_loop
    seen: list[Training] = []

    def moved(fabric: Fabric, module: torch.nn.Module) -> Any:
        for each in module.modules():
            for name, buffer in each.named_buffers(recurse=False):
                each._buffers[name] = buffer.clone()
        return setup(fabric, module)

    def looked_at(run: Training) -> None:
        seen.append(run)
        loop(run)

    monkeypatch.setattr(Fabric, "setup_module", moved)
    monkeypatch.setattr(fit, "train_loop", looked_at)
    np.save(tmp_path / "t.npy", np.random.default_rng(0).normal(size=(30, 2)))
    model = PointsConfig(2, steps=1, width=4, preprocessing="standardize")
    config = TrainConfig(batch_size=8, epochs=1, noise=0.1)
    source = open_source(str(tmp_path / "t.npy"))
    train(source, model, config, tmp_path / "run", accelerator="cpu", quiet=True)
    assert seen[0].jitter.scale is scale_of(seen[0].model)
