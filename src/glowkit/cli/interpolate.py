"""`glowkit interpolate`: the way from one image to another."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glowkit.cli.common import (
    DEVICE,
    JSON,
    NO_KERNELS,
    OWN,
    RUN,
    SEED,
    refuse_given,
    say_broken,
    show_json,
)
from glowkit.cli.images import LABEL, NAMES, name_each, named_images
from glowkit.cli.opened import Opened, open_image_model
from glowkit.cli.speech import QUIET, say
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor

    from glowkit.tasks.interpolation import Course


BETWEEN = "take images that are nearer to each other, or train the model longer"


def interpolate(
    run: Annotated[Path, RUN],
    images: Annotated[list[str] | None, NAMES] = None,
    random: Annotated[
        int | None,
        typer.Option("--random", min=2, help="Between this many samples instead of images."),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", help="Images from one to the next, ends included.")
    ] = 9,
    path: Annotated[str, typer.Option(help="spherical or linear.")] = "spherical",
    square: Annotated[
        bool, typer.Option("--grid", help="Fill the square between four images.")
    ] = False,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y",
            help="Of the square of --grid only the image at this place, from 0,0 to 1,1.",
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Of the samples of --random (0.7).")
    ] = None,
    label: Annotated[str | None, LABEL] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="PNG to write; by default RUN/samples/interpolation.png. A GIF goes by."),
    ] = None,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Draw the way between images through the latent space, as a strip and as an animated GIF.

    The ends are the images themselves, pixel for pixel. Several images make several strips.

    Example: `glowkit interpolate runs/digits-glow-tiny test:3 test:12 test:40`
    """
    from glowkit.cli.images import check_png, check_sheet
    from glowkit.tasks.latent import check_meaning

    check_png(out)
    if (images is None) == (random is None):
        raise GlowkitError("name two images or more, such as test:3 test:12, or give --random 2")
    if random is None:
        refuse_given("images are encoded, not drawn", temperature=temperature)
    else:
        check_sheet(count * (count if square else random - 1))
    temperature = 0.7 if temperature is None else temperature
    place = None if at is None else _place(at, square)
    opened = open_image_model(run, device)
    check_meaning(opened.model)
    strip = out or opened.within("samples", "interpolation.png")
    names, keys, lost, noises, context = _ends(
        opened, images or [], random, temperature, seed, label
    )

    import torch

    from glowkit.core.finite import broken_examples
    from glowkit.pictures.sheet import image_sheet, save_gif, save_png
    from glowkit.tasks import interpolate, largest_pixel_error
    from glowkit.tasks.evaluation import error_text, explain_error
    from glowkit.tasks.interpolation import PATHS, grid, legs
    from glowkit.tasks.latent import decoded

    if path not in PATHS:
        raise GlowkitError(f"path {path!r} does not exist; choose one of {', '.join(PATHS)}")
    check_sheet(count * (count if square else len(keys) - 1))
    shape = _only(*place) if place is not None else grid if square else legs
    drawn, log_p = interpolate(opened.model, noises, count, PATHS[path], shape, context)
    strips, broken = drawn.cpu(), broken_examples(drawn, log_p).cpu()
    if place is None:
        again, marks = _at_images(strips, square), _at_images(broken, square)
    else:
        with torch.no_grad():
            again, marks = (each.cpu() for each in decoded(opened.model, noises, context))
    error = largest_pixel_error(keys.cpu(), again, lost | marks)
    levels = opened.pixel_levels
    named = [f"{a} to {b}" for a, b in pairwise(names)]
    labels = [""] * len(strips) if square else named
    rows = list(zip(labels, strips, strict=True))
    save_png(image_sheet(rows, levels, broken=list(broken)), strip)
    written = [strip]
    if not square:
        written.append(strip.with_suffix(".gif"))
        save_gif(strips.flatten(0, 1), levels, written[-1], broken=broken.flatten())
    said = say_broken([broken], "" if random else BETWEEN)
    if as_json:
        show_json(
            {
                "run": str(run),
                "seed": seed,
                "images": len(keys),
                "frames": count,
                "interpolation": path,
                **({} if place is None else {"at": list(place)}),
                "largest_pixel_error": error,
                "levels": levels,
                **said,
                "path": str(strip),
                "paths": [str(file) for file in written],
            }
        )
    else:
        known = error_text(error, levels)
        say(f"{len(keys)} images, {path}, largest pixel error at them {known}")
        if error and random is None:
            say(explain_error(opened.model, keys, again, context))
        for file in written:
            say(str(file))


def _ends(
    opened: Opened,
    images: list[str],
    random: int | None,
    temperature: float,
    seed: int,
    label: str | None,
) -> "tuple[list[str], Tensor, Tensor, list[Tensor], Tensor | None]":
    """Names, images, which are broken, noises and context of what the paths lead to and from."""
    import torch

    from glowkit.core import MIDPOINT
    from glowkit.tasks.latent import classes_in_turn, decoded

    model = opened.model
    with torch.no_grad():
        if random is None:
            keys, context = named_images(opened, images, label)
            noises, _ = model.encode(keys, context, MIDPOINT)
            whole = torch.zeros(len(keys), dtype=torch.bool)
            return name_each(images), keys, whole, noises, context
        noises = model.draw_noises(random, temperature, opened.generator(seed))
        context = classes_in_turn(model, random)
        if label is not None:
            context = torch.full((random,), opened.class_number(label), device=opened.device)
        keys, broken = decoded(model, noises, context)
        return [f"sample {i}" for i in range(random)], keys, broken.cpu(), noises, context


def _at_images(strips: "Tensor", square: bool) -> "Tensor":
    """Of what is on the paths, (rows, frames, ...), what is at the images that they join."""
    import torch

    if square:
        return strips[[0, 0, -1, -1], [0, -1, 0, -1]]
    return torch.cat([strips[:, 0], strips[-1:, -1]])


def _place(text: str, square: bool) -> tuple[float, float]:
    if not square:
        raise GlowkitError("--at is a place in the square between four images: add --grid")
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        x = y = math.nan
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise GlowkitError(f"a place is given as X,Y, from 0,0 to 1,1, not {text!r}")
    return x, y


def _only(x: float, y: float) -> "Callable[[Tensor, int, Course], Tensor]":
    """A shape of `tasks.interpolate`: one place of the square between four images."""
    from glowkit.tasks.interpolation import inside

    return lambda keys, _, path: inside(keys, keys.new_tensor([x]), keys.new_tensor([y]), path)
