"""`glowkit interpolate`: the way from one image to another."""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glowkit.cli.common import (
    DEVICE,
    JSON,
    SEED,
    Opened,
    classes_in_turn,
    open_image_model,
    say_lost,
    show_json,
)
from glowkit.cli.naming import LABEL, NAMES, name_each, named_images
from glowkit.core.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor


def interpolate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run or model folder.")],
    images: Annotated[list[str] | None, NAMES] = None,
    random: Annotated[
        int | None, typer.Option("--random", help="Between this many samples instead of images.")
    ] = None,
    frames: Annotated[int, typer.Option(help="Images from one to the next, ends included.")] = 9,
    path: Annotated[str, typer.Option(help="spherical or linear.")] = "spherical",
    square: Annotated[
        bool, typer.Option("--grid", help="Fill the square between four images.")
    ] = False,
    temperature: Annotated[float, typer.Option(min=0, help="Of the samples of --random.")] = 0.7,
    label: Annotated[str | None, LABEL] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="PNG to write; by default RUN/samples/interpolation.png. A GIF goes by."),
    ] = None,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Draw the way between images through the latent space, as a strip and as an animated GIF.

    The ends are the images themselves, pixel for pixel. Several images make several strips.

    Example: `glowkit interpolate runs/digits-glow-tiny test:3 test:12 test:40`
    """
    from glowkit.cli.output import check_sheet

    if (images is None) == (random is None):
        raise GlowkitError("name two images or more, such as test:3 test:12, or give --random 2")
    opened = open_image_model(run, device)
    names, keys, noises, context = _ends(opened, images or [], random, temperature, seed, label)

    from glowkit.tasks import interpolate, largest_pixel_error
    from glowkit.tasks.interpolation import PATHS, grid, legs
    from glowkit.tasks.sheet import image_sheet, save_gif, save_png

    if path not in PATHS:
        raise GlowkitError(f"path {path!r} does not exist; choose one of {', '.join(PATHS)}")
    check_sheet(frames * (frames if square else len(keys) - 1))
    shape = grid if square else legs
    drawn, log_p = interpolate(opened.model, noises, frames, PATHS[path], shape, context)
    say_lost(log_p)
    strips = drawn.cpu()
    if square:
        corners = strips[[0, 0, -1, -1], [0, -1, 0, -1]]
    else:
        import torch

        corners = torch.cat([strips[:, 0], strips[-1:, -1]])
    error = largest_pixel_error(keys.cpu(), corners)
    levels = opened.model.config.pixel_levels
    strip = (out or run / "samples" / "interpolation").with_suffix(".png")
    named = [f"{a} to {b}" for a, b in pairwise(names)]
    labels = [""] * frames if square else named
    save_png(image_sheet(list(zip(labels, strips, strict=True)), levels), strip)
    written = [strip]
    if not square:
        written.append(strip.with_suffix(".gif"))
        save_gif(strips.flatten(0, 1), levels, written[-1])
    if as_json:
        show_json(
            {
                "images": len(keys),
                "frames": frames,
                "path": path,
                "largest_pixel_error": error,
                "paths": [str(file) for file in written],
            }
        )
    else:
        print(f"{len(keys)} images, {path}, largest pixel error at them {error} of {levels - 1}")
        print("\n".join(map(str, written)))


def _ends(
    opened: Opened,
    images: list[str],
    random: int | None,
    temperature: float,
    seed: int,
    label: str | None,
) -> "tuple[list[str], Tensor, list[Tensor], Tensor | None]":
    """Names, images, noises and context of what the paths lead to and from."""
    import torch

    from glowkit.core import MIDPOINT

    model = opened.model
    with torch.no_grad():
        if random is None:
            keys, context = named_images(opened, images, label)
            noises, _ = model.encode(keys, context, MIDPOINT)
            return name_each(images), keys, noises, context
        generator = torch.Generator(opened.device).manual_seed(seed)
        noises = model.draw_noises(random, temperature, generator)
        context = classes_in_turn(opened, random)
        if label is not None:
            context = torch.full((random,), opened.class_number(label), device=opened.device)
        return (
            [f"sample {i}" for i in range(random)],
            model.decode(noises, context)[0],
            noises,
            context,
        )
