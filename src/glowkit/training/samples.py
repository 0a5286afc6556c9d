"""The pictures of an evaluation: a sheet of sampled images, or points and their density."""

from typing import TYPE_CHECKING

import torch

from glowkit.core.density import Density
from glowkit.core.finite import broken_examples, broken_sentence, finite_examples
from glowkit.data.points import PointSplit
from glowkit.tasks.plane import density_panel, plane_image, save_gif
from glowkit.tasks.sheet import image_sheet
from glowkit.training.folder import RunFolder
from glowkit.training.seeds import SAMPLE_NOISE, mixed_seed

if TYPE_CHECKING:
    from PIL.Image import Image

_TEMPERATURES = (0.5, 0.7, 1.0)
_COLUMNS = 8
_POINTS = 5000
_MOST_FRAMES = 60


@torch.no_grad()
def draw_samples(model: Density, device: torch.device) -> "tuple[Image, str]":
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
def draw_plane(model: Density, device: torch.device, shown: PointSplit) -> "tuple[Image, str]":
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
