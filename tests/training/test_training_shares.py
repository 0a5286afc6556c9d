"""The same losses from any number of processes: noise, dropout and moments belong to the batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_runs import start_ranks, tiny_source

from glowkit.data.toy import PointSource, PointSplit, open_points
from glowkit.models.families import build
from glowkit.models.flowpp import FlowPPConfig
from glowkit.models.glow import GlowConfig
from glowkit.models.points import PointsConfig
from glowkit.models.realnvp import RealNVPConfig
from glowkit.nets.batchnorm import BatchShare, RunningMoments
from glowkit.nets.gated import Dropout
from glowkit.training import TrainConfig, fit, loop
from glowkit.training.metrics import read_rows
from glowkit.training.of_points import Points

IMAGE = {"image_shape": (1, 4, 4), "pixel_levels": 8}
MODELS: dict[str, Any] = {
    "glow, variational noise": GlowConfig(
        **IMAGE,
        levels=1,
        steps=2,
        width=4,
        coupling="mixture",
        components=2,
        dequantization="variational",
        dequantization_steps=1,
        dequantization_width=4,
    ),
    "glow, class labels": GlowConfig(
        **IMAGE, levels=1, steps=1, width=4, classes=3, conditioning="everywhere", learn_top=True
    ),
    "realnvp, batch norm": RealNVPConfig(**IMAGE, blocks=1, width=4),
    "flow++, dropout": FlowPPConfig(
        **IMAGE, width=8, blocks=1, components=2, heads=2, dropout=0.3, memory="checkpoint"
    ),
    "points, batch norm": PointsConfig(
        steps=2, width=8, coupling="affine", normalization="batch-norm"
    ),
}
OFTEN = [("flow++, dropout", 2), ("realnvp, batch norm", 2)]
BATCH = 7  # shared unevenly by 2 and by 3; and the 21 validation images make an uneven last one


def few_points() -> PointSource:
    source = open_points("points:moons", "moons")
    splits = {name: PointSplit(split.points[:100].numpy()) for name, split in source.splits.items()}
    return PointSource(source.name, splits, source.density)


def train_in_double(run: Path, name: str, batch: int) -> None:
    """20 steps in float64 with a row each, so that nothing but the sharing can differ."""
    torch.set_num_threads(1)
    loop.LOG_EVERY_STEPS = 1
    fit.build = lambda config: build(config).double()
    model = MODELS[name]
    source: Any = tiny_source(labels=True)
    if isinstance(model, PointsConfig):
        source = few_points()
        Points.prepare = lambda *_: lambda points: (points.double(), None)  # type: ignore[method-assign]
    steps_an_epoch = 100 // batch
    config = TrainConfig(batch_size=batch, epochs=20 / steps_an_epoch, warmup_steps=5, seed=3)
    fit.train(source, model, config, run, accelerator="cpu", quiet=True)


def losses(run: Path) -> dict[str, np.ndarray]:
    rows = read_rows(run / "metrics.csv")
    figures = [name for name in rows[0] if name.startswith(("train_", "validation_", "gradient"))]
    assert len(rows) == 20
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in figures}


def assert_equal(some: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> None:
    for name, figures in others.items():
        # An evaluation by running moments, far from convergence, magnifies rounding.
        rel = 1e-10 if name.startswith("validation") else 1e-12
        assert some[name] == pytest.approx(figures, rel=rel, nan_ok=True), name


def finish(processes: list[Any]) -> None:
    for process in processes:
        process.join(120)
        assert process.exitcode == 0


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        pytest.param(name, ranks, marks=[] if (name, ranks) in OFTEN else pytest.mark.slow)
        for name in MODELS
        for ranks in (2, 3)
    ],
)
def test_processes_are_one(tmp_path: Path, name: str, ranks: int) -> None:
    started = [
        process
        for number in (1, ranks)
        for process in start_ranks(number, train_in_double, tmp_path / str(number), name, BATCH)
    ]
    finish(started)
    assert_equal(losses(tmp_path / str(ranks)), losses(tmp_path / "1"))


def test_more_processes_than_examples(tmp_path: Path) -> None:
    name = "points, batch norm"
    started = [
        process
        for ranks in (1, 3)
        for process in start_ranks(ranks, train_in_double, tmp_path / str(ranks), name, 2)
    ]
    finish(started)
    alone = losses(tmp_path / "1")
    assert_equal(losses(tmp_path / "3"), alone)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_of_a_share_is_that_of_the_batch(layout: torch.memory_format) -> None:
    layer, x = Dropout(0.4), torch.ones(5, 3, 4, 4).to(memory_format=layout)
    torch.manual_seed(0)
    whole = layer(x)
    for ranks in (1, 2, 7):
        for rank in range(ranks):
            layer.share = BatchShare(5, rank, ranks)
            torch.manual_seed(0)
            own = x[layer.share.rows].contiguous(memory_format=layout)
            assert torch.equal(layer(own), whole[layer.share.rows])
    assert torch.equal(layer.eval()(x), x)


def test_moments_of_a_share_are_those_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the other processes' sums put in by hand."""
    torch.manual_seed(0)
    layer, x = RunningMoments(2).double(), torch.randn(5, 2, 3, dtype=torch.float64)
    expected = layer(x)
    deviations = (x - expected[0].view(1, 2, 1)).square()
    for rank in (0, 1):
        layer.share = BatchShare(5, rank, 2)
        others = [part.sum((0, 2)) for part in (x[1 - rank :: 2], deviations[1 - rank :: 2])]
        monkeypatch.setattr(BatchShare, "sum", lambda _, own, left=others: own + left.pop(0))
        for value, right in zip(layer(x[layer.share.rows]), expected, strict=True):
            assert torch.allclose(value, right, rtol=1e-14)
