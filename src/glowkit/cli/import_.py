"""`glowkit import`: other people's checkpoints become models."""

from pathlib import Path
from typing import Annotated

import typer

from glowkit.cli.common import JSON, check_dtype, show_json
from glowkit.cli.speech import QUIET, show
from glowkit.system.errors import GlowkitError


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint.")],
    format: Annotated[
        str, typer.Option("--format", help="y0ast, openai, rosinality or chrischute.")
    ],
    out: Annotated[Path, typer.Option(metavar="MODEL", help="Model folder to write.")],
    levels: Annotated[
        int | None,
        typer.Option(
            help="Pixel levels of its training, which no file says; by default 256, and 32 for"
            " rosinality, as in their repositories."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Side of its images in pixels; only y0ast's files say it."),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32 or float64: of the weights; by default the file's."),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Import a Glow that another implementation trained, with the same likelihood.

    The architecture follows from the file; a tensor that cannot be mapped is refused by name.

    Example: `glowkit import glow.pt --format rosinality --out models/faces --size 64 --levels 32`
    """
    if dtype is not None:
        check_dtype(dtype)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise GlowkitError(f"{out} exists already; give a new folder with --out")

    import torch

    from glowkit.models import save
    from glowkit.models.importers import import_model

    precision = None if dtype is None else getattr(torch, dtype)
    model = import_model(file, format, levels, size, precision)
    save(model, out)
    config = model.config
    told = ("pixel_levels", "levels", "steps", "width", "coupling", "permutation", "classes")
    figures = {
        "image_shape": list(config.image_shape),
        **{name: getattr(config, name) for name in told},
        "parameters": sum(p.numel() for p in model.parameters()),
        "path": str(out),
    }
    if as_json:
        show_json(figures)
        return
    text = {name.replace("_", " "): str(value) for name, value in figures.items()}
    text["image shape"] = "x".join(map(str, config.image_shape)) + " (channels x height x width)"
    show(f"{file} ({format})", text)
