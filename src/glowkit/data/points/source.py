"""Points ready for training: three splits drawn from a density that is known exactly."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from glowkit.core.errors import GlowkitError
from glowkit.data.points.checkerboard import Checkerboard
from glowkit.data.points.curves import circles, eight_gaussians, moons, rings, two_spirals
from glowkit.data.points.density import PointDensity
from glowkit.data.points.pinwheel import Pinwheel

POINTS: dict[str, Callable[[], PointDensity]] = {
    "8gaussians": eight_gaussians,
    "checkerboard": Checkerboard,
    "2spirals": two_spirals,
    "circles": circles,
    "moons": moons,
    "pinwheel": Pinwheel,
    "rings": rings,
}

SIZES = {"train": 65536, "validation": 8192, "test": 65536}


class PointSplit(Dataset[Tensor]):
    """Points of one split by row, float32.

    >>> split = PointSplit(np.zeros((5, 2)))
    >>> len(split), split[0].shape, split.__getitems__([1, 3]).shape
    (5, torch.Size([2]), torch.Size([2, 2]))
    """

    def __init__(self, points: np.ndarray) -> None:
        self.points = torch.from_numpy(points.astype(np.float32))

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> Tensor:
        return self.points[index].clone()

    def __getitems__(self, indices: Sequence[int] | slice | np.ndarray) -> Tensor:
        """A whole batch, (B, 2)."""
        rows = indices if isinstance(indices, slice) else np.asarray(indices, dtype=np.int64)
        return self.points[rows].clone()


@dataclass(frozen=True)
class PointSource:
    """Points ready for training, and the density they come from.

    name: the words given to `open_source`. splits: "train", "validation" and "test".
    """

    name: str
    splits: dict[str, PointSplit]
    density: PointDensity
    notes: tuple[str, ...] = ()


def open_points(spec: str, name: str) -> PointSource:
    """The density of that name, and 65,536 / 8,192 / 65,536 points of it, always the same ones.

    Raises GlowkitError for a name that does not exist.

    >>> source = open_points("points:moons", "moons")
    >>> source.splits["validation"].points.shape
    torch.Size([8192, 2])
    """
    if name not in POINTS:
        raise GlowkitError(f"there are no points {name!r}; choose one of {', '.join(POINTS)}")
    density = POINTS[name]()
    splits = {}
    for split, size in SIZES.items():
        # PCG64 by name: NumPy may change what default_rng means, and so the test points.
        seed = zlib.crc32(f"{name} {split}".encode())
        generator = np.random.Generator(np.random.PCG64(seed))
        splits[split] = PointSplit(density.sample(size, generator))
    return PointSource(spec, splits, density)
