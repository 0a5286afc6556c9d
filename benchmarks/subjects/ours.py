"""glowkit's own Glow."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from benchmarks.case import CHANNELS, Case
from benchmarks.subjects.flow import Flow
from glowkit import GlowConfig, build, frozen, initialize
from glowkit.core import Density
from glowkit.core.chain import MEMORY_MODES
from glowkit.nets.kernels.library import SWITCH

PREFIX = "glowkit "


def names_of_ours() -> Iterator[tuple[str, str]]:
    """The name of the subject in each memory mode, and the mode."""
    return ((PREFIX + mode, mode) for mode in MEMORY_MODES)


class Ours(Flow):
    """The continuous density inside an image model: no dequantization, no learned top prior.

    The peers' libraries have no learned top prior either; the conditional prior of each split,
    which they lack too, stays, so that glowkit does slightly more work than they do.
    """

    def __init__(self, case: Case, memory: str = "store") -> None:
        super().__init__()
        config = GlowConfig(
            image_shape=(CHANNELS, case.size, case.size),
            levels=case.levels,
            steps=case.steps,
            width=case.width,
            learn_top=False,
            memory=memory,
            precision=case.precision,
        )
        model: Any = build(config)
        self.density: Density = model.density
        initialize(self.density, case.images())

    def rest(self) -> None:
        """Frozen for good, as commands and evaluations freeze a model until they end."""
        super().rest()
        self.resting = ExitStack()
        self.resting.enter_context(frozen(self.density))

    def log_prob(self, images: Tensor) -> Tensor:
        return self.density.log_prob(images)

    def sample(self, n: int) -> Tensor:
        return self.density.sample(n)


class WithoutKernels(Ours):
    """The same by plain torch. Backward passes are of what the forward pass was made by."""

    def log_prob(self, images: Tensor) -> Tensor:
        with _switched_off():
            return super().log_prob(images)

    def sample(self, n: int) -> Tensor:
        with _switched_off():
            return super().sample(n)


@contextmanager
def _switched_off() -> Iterator[None]:
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "0"
    try:
        yield
    finally:
        del os.environ[SWITCH]
        if before is not None:
            os.environ[SWITCH] = before
