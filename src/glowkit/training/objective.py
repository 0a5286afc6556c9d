"""What training is about, images, points or rows of a table: whoever asks need not know which."""

from glowkit.bijections.standardize import scale_of
from glowkit.core.density import Density
from glowkit.data.table import AnySource, TableSource
from glowkit.densities import noise_of
from glowkit.models.families import Config, outline
from glowkit.training.batches import Preparation
from glowkit.training.of_images import Images
from glowkit.training.of_noisy import NoisyImages
from glowkit.training.of_points import Points
from glowkit.training.of_tables import Tables
from glowkit.training.subject import Batches, Objective

__all__ = [
    "IMAGES",
    "NOISY",
    "POINTS",
    "TABLES",
    "Batches",
    "Objective",
    "objective_of",
    "preparation",
]

IMAGES, NOISY, POINTS, TABLES = Images(), NoisyImages(), Points(), Tables()


def objective_of(model: Density, source: AnySource | None = None) -> Objective:
    """Images for a density of whole numbers, noisy or not; of continuous ones, tables or points.

    Which of these the source says, or else the model, since one that standardises is of a table.
    """
    if getattr(model, "levels", None) is not None:
        return NOISY if noise_of(model) else IMAGES
    table = scale_of(model) is not None if source is None else isinstance(source, TableSource)
    return TABLES if table else POINTS


def preparation(source: AnySource, model: Density | Config) -> Preparation:
    """How a source's batches become a model's, given the model or its config.

    Raises GlowkitError for images of another shape than the model's, or all of one value at its
    levels, for examples of another kind than the model's, and for rows of another size.
    """
    model = model if isinstance(model, Density) else outline(model)
    return objective_of(model, source).prepare(source, model)
