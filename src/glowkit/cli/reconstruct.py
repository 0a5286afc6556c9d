"""`glowkit reconstruct`: encode real images and decode them again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glowkit.cli.common import DEVICE, JSON, Opened, open_data, open_model, refuse_points, show_json
from glowkit.core.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor


def reconstruct(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run or model folder.")],
    images: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGES", help="An image file, or DATA; by default the run's test split."
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="Images of DATA to show.")] = 10,
    label: Annotated[
        int | None, typer.Option("--class", help="Class of an image file (conditional models).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG to write; by default RUN/samples/reconstruction.png.")
    ] = None,
    device: Annotated[str, DEVICE] = "auto",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Draw real images above decode(encode(x)), and say the largest pixel error, which is 0.

    Example: `glowkit reconstruct runs/digits-glow-tiny`
    """
    if count < 1:
        raise GlowkitError(f"cannot reconstruct {count} images; give --count 1 or more")
    opened = open_model(run, device)
    refuse_points(opened, "reconstruct draws images; glowkit evaluate says the round-trip error")
    batch, context = _images(opened, images, count, label)

    from glowkit.tasks import largest_pixel_error, reconstruct
    from glowkit.tasks.sheet import image_sheet, save_png

    again = reconstruct(opened.model, batch, context)
    error = largest_pixel_error(batch, again)
    levels = opened.model.config.pixel_levels
    out = out or run / "samples" / "reconstruction.png"
    rows = [("images", batch.cpu()), ("decode(encode(x))", again.cpu())]
    save_png(image_sheet(rows, levels), out)
    if as_json:
        show_json({"images": len(batch), "largest_pixel_error": error, "path": str(out)})
    else:
        print(f"{len(batch)} image(s), largest pixel error {error} of {levels - 1}: {out}")


def _images(
    opened: Opened, images: str | None, count: int, label: int | None
) -> "tuple[Tensor, Tensor | None]":
    from glowkit.cli.assess import split_batches

    path = Path(images or "")
    if label is not None and not (opened.model.config.classes and path.is_file()):
        raise GlowkitError("--class is for an image file and a conditional model; leave it out")
    if images is None or path.is_dir() or path.suffix in (".npy", ".npz") or not path.is_file():
        data = open_data(opened, images)
        return next(split_batches(opened, data, "test", count))

    import torch

    from glowkit.data import read_image, requantize

    config = opened.model.config
    levels = 65536 if config.pixel_levels > 256 else 256
    image = read_image(path, config.image_shape, deep=levels > 256)
    image = requantize(image, levels, config.pixel_levels).to(opened.device)
    context = None if label is None else torch.tensor([label], device=opened.device)
    return image, context
