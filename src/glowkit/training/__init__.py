"""Floor 6: a loop around a density, and the folder of its run."""

from typing import TYPE_CHECKING

from glowkit._lazy import lazy_names
from glowkit.training.config import TrainConfig
from glowkit.training.run import RunFolder, RunSettings, read_run, read_settings

if TYPE_CHECKING:
    from glowkit.training.fit import TrainResult, train
    from glowkit.training.objective import preparation

__all__ = [
    "RunFolder",
    "RunSettings",
    "TrainConfig",
    "TrainResult",
    "preparation",
    "read_run",
    "read_settings",
    "train",
]


if not TYPE_CHECKING:
    # Lightning takes seconds to import, and reading a run's settings does not need it.
    __getattr__ = lazy_names(
        __name__,
        {
            "glowkit.training.fit": ["TrainResult", "train"],
            "glowkit.training.objective": ["preparation"],
        },
    )
