"""Other people's Glow checkpoints, read as glowkit models."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from glowkit.core import Density, GlowkitError
from glowkit.models.checks import check_choice
from glowkit.models.importers import chrischute, openai, rosinality, y0ast
from glowkit.models.importers.files import Contents, open_tensorflow, open_torch
from glowkit.models.importers.openai import assemble
from glowkit.models.importers.parts import Weights

__all__ = ["FORMATS", "Format", "import_model"]


@dataclass(frozen=True)
class Format:
    """How one repository's checkpoints are opened, recognised and read."""

    open: Callable[[Path], Contents]
    mark: str
    read: Callable[[Contents], Weights]
    pixel_levels: int
    """What its training uses by default."""


FORMATS: dict[str, Format] = {
    "y0ast": Format(open_torch, y0ast.MARK, y0ast.read, pixel_levels=256),
    "openai": Format(open_tensorflow, openai.MARK, openai.read, pixel_levels=256),
    "rosinality": Format(open_torch, rosinality.MARK, rosinality.read, pixel_levels=32),
    "chrischute": Format(
        partial(open_torch, wrapper="net"), chrischute.MARK, chrischute.read, pixel_levels=256
    ),
}
"""The formats by name."""


def import_model(
    path: str | Path,
    format: str,
    pixel_levels: int | None = None,
    size: int | None = None,
    dtype: torch.dtype | None = None,
) -> Density:
    """Read another implementation's Glow as a glowkit model with the same likelihood.

    Levels, steps, width, coupling and permutation follow from the file's names and shapes. The maps
    are computed in float64 and rounded to `dtype`; in float64 the log-likelihood is the original's
    up to rounding.

    Args:
        path: the checkpoint.
        format: one of `FORMATS`.
        pixel_levels: the integers 0..pixel_levels−1 of its training, which no file says; by
            default what its repository uses by default.
        size: side of its square images, where the file does not determine it.
        dtype: of the weights; by default the file's.

    Raises:
        GlowkitError: for a file that is missing, damaged, of another format, or that holds a tensor
            which cannot be mapped; and for a size that is missing or wrong.
    """
    path = Path(path)
    check_choice("format", format, FORMATS)
    kind = FORMATS[format]
    file = kind.open(path)
    _check_format(file, format)
    weights = kind.read(file)
    file.refuse_the_rest()
    levels = kind.pixel_levels if pixel_levels is None else pixel_levels
    return assemble(weights, _sides(path, weights, size), levels, dtype or file.dtype)


def _check_format(file: Contents, format: str) -> None:
    if file.has(FORMATS[format].mark):
        return
    others = [name for name, kind in FORMATS.items() if file.has(kind.mark)]
    hint = f"it looks like {others[0]}" if others else f"choose one of {', '.join(FORMATS)}"
    raise GlowkitError(f"{file.path} is not a checkpoint of format {format!r}; {hint}")


def _sides(path: Path, weights: Weights, size: int | None) -> tuple[int, int]:
    if weights.sides is None:
        if size is None:
            raise GlowkitError(
                f"{path} does not say how large its images are; give the side in pixels (--size)"
            )
        return size, size
    if size is not None and weights.sides != (size, size):
        height, width = weights.sides
        raise GlowkitError(
            f"{path} is of images of {height}x{width} pixels, not {size}x{size}; leave out --size"
        )
    return weights.sides
