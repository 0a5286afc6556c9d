"""Training on images for coding with loss: bits and squared error, pictures of what is decoded."""

from __future__ import annotations  # PIL's types are named without importing it

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from glowkit.core import Density, Generator
from glowkit.data.table import AnySource
from glowkit.pictures.sheet import image_sheet
from glowkit.tasks.likelihood import SIGNS, levels_of
from glowkit.tasks.lossy import LossySettings, at_step, check_lossy
from glowkit.tasks.lossy.loss import Draws, draws, rate_distortion, round_trip
from glowkit.training.batches import Preparation
from glowkit.training.of_images import Images

if TYPE_CHECKING:
    from PIL.Image import Image

_COLUMNS = 8


class LossyImages(Images):
    """Images at steps between the finest and the coarsest: the loss of `rate_distortion`."""

    figure = "rate_distortion"

    def __init__(self, settings: LossySettings) -> None:
        self.settings = settings

    def prepare(self, source: AnySource, model: Density) -> Preparation:
        check_lossy(model)
        return super().prepare(source, model)

    def loss(
        self, model: Density, x: Tensor, context: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """The mean over the images that the decoder, as it is, does not overflow at."""
        drawn = draws(model, len(x), self.settings, generator)
        mean = self._mean(rate_distortion, model, x, drawn, context)
        if not self.settings.round_trip:
            return mean, mean
        moved = self._mean(round_trip, model, x, drawn, context)
        return mean + self.settings.round_trip * moved, mean

    def _mean(
        self,
        of: Callable[..., Tensor],
        model: Density,
        x: Tensor,
        drawn: Draws,
        context: Tensor | None,
    ) -> Tensor:
        each = of(model, x, self.settings.unit, drawn, context)
        finite = each.detach().isfinite()
        if not finite.all() and finite.any():
            # Once more without the others, whose gradients are no numbers even times 0.
            rows = finite.nonzero()[:, 0]
            seen = None if context is None else context[rows]
            each = of(model, x[rows], self.settings.unit, drawn[rows], seen)
        return each.mean()

    def each(
        self, model: Density, x: Tensor, context: Tensor | None, generator: Generator
    ) -> Tensor:
        drawn = draws(model, len(x), self.settings, generator)
        return rate_distortion(model, x, self.settings.unit, drawn, context)

    def sign(self, model: Density) -> str:
        """What is minimised is itself, and no bound of a likelihood."""
        return SIGNS["exact"]

    def headline(self, figures: Mapping[str, Any], baselines: Mapping[str, float]) -> str:
        """Of its likelihood, which an evaluation measures."""
        return Images().headline(figures, baselines)

    @torch.no_grad()
    def draw(
        self, model: Density, device: torch.device, shown: Any, prepare: Preparation
    ) -> tuple[Image, str]:
        """Images of a split, and what is decoded of them at the finest and the coarsest step."""
        images, context = prepare(shown.__getitems__(list(range(min(_COLUMNS, len(shown))))))
        images = images.to(device)
        context = None if context is None else context.to(device)
        rows = [("as they are", images)]
        for levels in (self.settings.finest, self.settings.coarsest):
            again = at_step(model, images, self.settings.unit * levels, context)
            rows.append((f"step {levels:g}", again))
        drawn = [(name, row.cpu().to(torch.int32)) for name, row in rows]
        return image_sheet(drawn, levels_of(model)), ""
