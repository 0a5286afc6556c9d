"""`glowkit reconstruct`: encode real images and decode them again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glowkit.cli.common import (
    DEVICE,
    JSON,
    NO_KERNELS,
    OWN,
    RUN,
    refuse_given,
    say_broken,
    show_json,
)
from glowkit.cli.images import check_png, check_sheet, image_batches, named_images, names_data
from glowkit.cli.opened import Opened, open_image_model
from glowkit.cli.speech import QUIET, say
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor


def reconstruct(
    run: Annotated[Path, RUN],
    images: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGES",
            help="An image file, test:12 or DATA; by default the run's test split.",
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", help="Images of DATA to show (10).")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--class", help="Class of an image file (conditional models).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG to write; by default RUN/samples/reconstruction.png.")
    ] = None,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Draw real images above decode(encode(x)), and say the largest pixel error, which is 0.

    Example: `glowkit reconstruct runs/digits-glow-tiny`
    """
    if images is not None and not names_data(images):
        refuse_given("these images say by themselves how many they are", count=count)
    count = 10 if count is None else count
    if count < 1:
        raise GlowkitError(f"cannot reconstruct {count} images; give --count 1 or more")
    check_png(out)
    check_sheet(2 * count)
    opened = open_image_model(run, device)
    out = out or opened.within("samples", "reconstruction.png")
    batch, context = _images(opened, images, count, label)

    import torch

    from glowkit.pictures.sheet import image_sheet, save_png
    from glowkit.tasks import largest_pixel_error
    from glowkit.tasks.evaluation import REMEDY, error_text, explain_error, reconstruction

    again, broken = reconstruction(opened.model, batch, context)
    broken = broken.cpu()
    error = largest_pixel_error(batch, again, broken)
    levels = opened.pixel_levels
    rows = [("images", batch.cpu()), ("decode(encode(x))", again.cpu())]
    save_png(image_sheet(rows, levels, broken=[torch.zeros_like(broken), broken]), out)
    said = say_broken([broken], REMEDY)
    if as_json:
        about = {
            "run": str(run),
            "images": len(batch),
            "largest_pixel_error": error,
            "levels": levels,
        }
        show_json(about | said | {"path": str(out)})
    else:
        known = error_text(error, levels)
        say(f"{len(batch)} image(s), largest pixel error {known}: {out}")
        if error:
            say(explain_error(opened.model, batch, again, context))


def _images(
    opened: Opened, images: str | None, count: int, label: str | None
) -> "tuple[Tensor, Tensor | None]":
    if images is not None and not names_data(images):
        return named_images(opened, [images], label)
    _, batches = image_batches(opened, [images] if images else [], "test", count, label)
    return next(batches)
