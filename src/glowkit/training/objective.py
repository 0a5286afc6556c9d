"""What training is about, images or points: its figure, its pictures and its words."""

from __future__ import annotations  # PIL's types are named without importing it

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from glowkit.core.density import Density
from glowkit.core.finite import broken_examples, broken_sentence, finite_examples
from glowkit.core.noise import Generator
from glowkit.data.toy import PointSplit
from glowkit.models.families import Config
from glowkit.models.points import PointsConfig
from glowkit.pictures.plots import density_panel, plane_image, save_gif
from glowkit.pictures.sheet import image_sheet
from glowkit.tasks import likelihood, points
from glowkit.training.batches import (
    SAMPLE_NOISE,
    VALIDATION_NOISE,
    Preparation,
    Split,
    mixed_seed,
)
from glowkit.training.run import RunFolder

if TYPE_CHECKING:
    from PIL.Image import Image


_TEMPERATURES = (0.5, 0.7, 1.0)
_COLUMNS = 8
_POINTS = 5000
_MOST_FRAMES = 60


@torch.no_grad()
def draw_samples(model: Density, device: torch.device) -> tuple[Image, str]:
    """Draw a row of samples at each temperature; the same noise always, so that sheets compare.

    A class-conditional model draws its classes in turn. With a sentence where some are broken.
    """
    classes = model.config.classes
    context = torch.arange(_COLUMNS, device=device) % classes if classes else None
    rows, broken = [], []
    for temperature in _TEMPERATURES:
        generator = torch.Generator(device).manual_seed(mixed_seed(SAMPLE_NOISE))
        noises = model.draw_noises(_COLUMNS, temperature, generator)
        images, log_p = model.decode(noises, context)
        rows.append((f"temperature {temperature:g}", images.cpu()))
        broken.append(broken_examples(images, log_p).cpu())
    sheet = image_sheet(rows, model.config.pixel_levels, broken=broken)
    return sheet, _said(torch.cat(broken), "images")


@torch.no_grad()
def draw_plane(model: Density, device: torch.device, shown: PointSplit) -> tuple[Image, str]:
    """Draw samples beside the density, in a square that holds the points shown; the same noise.

    With a sentence where some samples are not finite.
    """
    generator = torch.Generator(device).manual_seed(mixed_seed(SAMPLE_NOISE))
    samples, _ = model.decode(model.draw_noises(_POINTS, generator=generator))
    half_side = 1.1 * float(shown.points.abs().max())
    picture = plane_image([("samples", samples), density_panel(model)], half_side)
    return picture, _said(~finite_examples(samples), "points")


def _said(broken: torch.Tensor, things: str) -> str:
    number = int(broken.sum())
    return broken_sentence(number, broken.numel(), things) if number else ""


def animate(folder: RunFolder) -> None:
    """Join the pictures of all evaluations, or evenly chosen ones, to samples/training.gif."""
    frames = folder.all_samples()[::-1]
    if frames:
        save_gif(frames[:: -(-len(frames) // _MOST_FRAMES)][::-1], folder.animation)


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


@torch.no_grad()
def share_of_figures(
    model: Density,
    split: Split,
    prepare: Preparation,
    batch_size: int,
    device: torch.device,
    rank: int = 0,
    ranks: int = 1,
    stop: Callable[[], bool] = lambda: False,
) -> Tensor | None:
    """Sum of the figure and number of examples of every `ranks`-th batch, float64; None if stopped.

    The ranks' results add up to the whole split's, without padding or a dropped batch. The
    dequantization noise is the same at every evaluation and for any number of ranks, so that their
    differences are the model's.
    """
    figure_of_each = subject_of(model.config).each
    total = torch.zeros(2, dtype=torch.float64)
    batches = -(-len(split) // batch_size)
    for number in range(rank, batches, ranks):
        if stop():
            return None
        rows = range(len(split))[number * batch_size : (number + 1) * batch_size]
        x, context = prepare(split.__getitems__(list(rows)))
        generator = torch.Generator(device).manual_seed(mixed_seed(VALIDATION_NOISE, number, 0))
        context = None if context is None else context.to(device)
        each = figure_of_each(model, x.to(device), context, generator)
        total += torch.stack([each.cpu().double().sum(), torch.tensor(float(len(each)))])
    return total
