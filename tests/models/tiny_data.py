"""Tiny images and points, on which models that glowkit did not make are trained."""

from typing import Any

import numpy as np
from torch import Tensor

from glowkit import Density
from glowkit.data import Source, open_source
from glowkit.data.source import ImageSplit
from glowkit.data.toy import PointSource, PointSplit
from glowkit.training import TrainConfig, preparation

SHAPE = (1, 4, 4)
CONFIG = TrainConfig(batch_size=16, epochs=2, warmup_steps=5)


def images(labels: bool = False) -> Source:
    """100 training images of 4x4 pixels in 8 levels, and 21 others of each kind."""
    rng = np.random.default_rng(0)
    pixels = (rng.integers(0, 5, (142, 1, 4, 4)) + np.arange(4)).astype(np.uint8)
    classes = rng.integers(0, 3, 142) if labels else None
    names, parts = ("train", "validation", "test"), np.split(np.arange(142), [100, 121])
    rows = dict(zip(names, parts, strict=True))
    splits = {name: ImageSplit(pixels, classes, index) for name, index in rows.items()}
    return Source("tiny", splits, SHAPE, 8, ("a", "b", "c") if labels else (), ())


def points() -> PointSource:
    source = open_source("points:moons")
    splits = {name: PointSplit(split.points[:100].numpy()) for name, split in source.splits.items()}
    return PointSource(source.name, splits, source.density)


def batches(source: Any, model: Density) -> list[tuple[Tensor, Tensor | None]]:
    return [preparation(source, model)(source.splits["test"].__getitems__(slice(None)))]
