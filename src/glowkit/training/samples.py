"""The sample sheet of an evaluation."""

from pathlib import Path

import torch

from glowkit.core.density import Density
from glowkit.tasks.sheet import image_sheet, save_png
from glowkit.training.seeds import SAMPLE_NOISE, mixed_seed

_TEMPERATURES = (0.5, 0.7, 1.0)
_COLUMNS = 8


@torch.no_grad()
def write_samples(model: Density, path: Path, device: torch.device) -> None:
    """Draw a row of samples at each temperature; the same noise always, so that sheets compare.

    A class-conditional model draws its classes in turn.
    """
    classes = model.config.classes
    context = torch.arange(_COLUMNS, device=device) % classes if classes else None
    rows = []
    for temperature in _TEMPERATURES:
        generator = torch.Generator(device).manual_seed(mixed_seed(SAMPLE_NOISE))
        images = model.sample(_COLUMNS, temperature, context, generator)
        rows.append((f"temperature {temperature:g}", images.cpu()))
    sheet = image_sheet(rows, model.config.pixel_levels)
    save_png(sheet, path)
