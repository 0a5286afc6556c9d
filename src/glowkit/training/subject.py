"""What a run is about: images, counted in bits/dim, or points, counted in nats."""

from __future__ import annotations  # PIL's types are named without importing it

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from glowkit.core.density import Density
from glowkit.core.noise import Generator
from glowkit.models.points import PointsConfig
from glowkit.models.presets import Config
from glowkit.tasks import likelihood, points
from glowkit.training.folder import RunFolder
from glowkit.training.samples import animate, draw_plane, draw_samples

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Subject:
    """The figure of a run, lower being better, and how samples are shown.

    things: what the examples are. unit: of the figure. figure: its name in files.
    loss: of a batch: what training minimises, and the figure alone, two scalars.
    each: the figure of every example, (N,). draw: a picture of samples, from the model, its device
    and the validation split, and a sentence if some are broken. report: the template of
    report.html. finish: done when training ends or is interrupted.
    """

    things: str
    unit: str
    figure: str
    loss: Callable[[Density, Tensor, Tensor | None, Generator], tuple[Tensor, Tensor]]
    each: Callable[[Density, Tensor, Tensor | None, Generator], Tensor]
    draw: Callable[[Density, torch.device, Any], tuple[Image, str]]
    report: str
    finish: Callable[[RunFolder], None]

    @property
    def columns(self) -> tuple[str, ...]:
        """Of metrics.csv."""
        return (
            "step",
            "epoch",
            "elapsed_seconds",
            f"train_{self.figure}",
            f"validation_{self.figure}",
            "learning_rate",
            "gradient_norm",
            f"{self.things}_per_second",
            "skipped_steps",
        )


def _loss_of_points(
    model: Density, x: Tensor, context: Tensor | None, generator: Generator
) -> tuple[Tensor, Tensor]:
    mean = points.nll(model, x, context).mean()
    return mean, mean


IMAGES = Subject(
    "images",
    "bits/dim",
    "bits_per_dim",
    lambda *batch: likelihood.training_loss(*batch),
    lambda *batch: likelihood.bits_per_dim(*batch),
    lambda model, device, _: draw_samples(model, device),
    "report.html.jinja",
    lambda folder: None,
)

POINTS = Subject(
    "points",
    "nats",
    "nll_nats",
    _loss_of_points,
    lambda model, x, context, _: points.nll(model, x, context),
    draw_plane,
    "points.html.jinja",
    animate,
)


def subject_of(config: Config) -> Subject:
    """Points for a flow of vectors, images otherwise."""
    return POINTS if isinstance(config, PointsConfig) else IMAGES
