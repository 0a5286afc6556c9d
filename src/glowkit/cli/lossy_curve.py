"""`glowkit lossy curve`: error over rate beside other codecs, and over generations."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glowkit.cli.common import JSON, OWN, bar, show_json
from glowkit.cli.completion import runs
from glowkit.cli.images import NAMES, check_png
from glowkit.cli.lossy import check_step, read, unit_for
from glowkit.cli.opened import Opened, open_image_model
from glowkit.cli.speech import QUIET, say, show, warn
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from glowkit.tasks.lossy.classical import Codec
    from glowkit.tasks.lossy.generations import Generations, Point

STEPS = 8
"""Steps of the curve, from the finest to the coarsest that were trained."""

ALL = "all"


def curve(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN2", help="A run of `glowkit lossy train`.", autocompletion=runs),
    ],
    images: Annotated[list[str] | None, NAMES] = None,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("curve.png"),
    codecs: Annotated[
        str, typer.Option(help="jpeg,webp,avif,jpeg2000,jxl, all that there are, or none.")
    ] = ALL,
    generations: Annotated[
        int, typer.Option(min=0, help="Times that images are coded again; 0 for none.")
    ] = 0,
    step: Annotated[
        float | None, typer.Option(help="Of the generations, in pixel levels; by default 1/64.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Images, at most.")] = 100,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """PSNR over bits/pixel beside JPEG, WebP, AVIF, JPEG 2000 and JPEG XL, a file an image.

    Solid lines count whole files and dotted ones leave out the headers, which are most of a small
    file. With --generations, images are also coded again and again, by each codec at the quality
    that takes as many bits as the step does.

    Example: `glowkit lossy curve runs/photos-lossy --generations 50 --out curve.png`
    """
    check_png(out)
    check_step(step)
    opened = open_image_model(run, "cpu")

    from glowkit.cli.lossy import USUAL
    from glowkit.pictures.lossy import curve_image
    from glowkit.system.files import write_atomically
    from glowkit.tasks.lossy.coder import LossyCodec
    from glowkit.tasks.lossy.generations import generations as over_generations
    from glowkit.tasks.lossy.generations import generations_beside, points_of, rate_points
    from glowkit.tasks.lossy.tiles import tiled

    chosen = _fitting(_chosen(codecs), codecs, opened)
    batch, context = read(opened, images or [], None, None)
    if context is not None:
        raise GlowkitError("curves are of models without classes or vectors")
    levels, unit = opened.pixel_levels, unit_for(opened)
    _, *sides = opened.image_shape
    batch = tiled(batch, (sides[0], sides[1]))[:count]
    pixels = sides[0] * sides[1]
    codec = LossyCodec.compile(opened.model)
    points: list[Point] = []
    for one in bar(_steps(opened, levels), "steps"):
        points += rate_points(codec, batch, unit, [one])
    others = {name: list(points_of(each, batch, levels)) for name, each in chosen.items()}
    again: dict[str, Generations] = {}
    if generations:
        step = levels * USUAL if step is None else step
        again["glowkit"] = over_generations(codec, batch, step * unit, generations)
        (at,) = rate_points(codec, batch, unit, [step])
        again |= generations_beside(chosen, batch, at.files * pixels / 8, generations, levels)
    lines = {"glowkit": points, **others}
    write_atomically(
        out,
        curve_image(
            {n: [p[:4] for p in line] for n, line in lines.items()},
            {n: g.psnr for n, g in again.items()},
        ),
    )
    if as_json:
        names = "at", "psnr", "bits_per_pixel", "bare", "ssim"
        rows = {
            name: [dict(zip(names, row, strict=True)) for row in line]
            for name, line in lines.items()
        }
        about = {"run": str(run), "images": len(batch), "levels": levels, "path": str(out)}
        show_json(about | {"curves": rows, "generations": {n: asdict(g) for n, g in again.items()}})
        return
    text = {f"step {p.at:g}": str(p) for p in points}
    for name, found in again.items():
        last = f"{found.psnr[-1]:.2f} dB after {generations}"
        text[f"{name} again"] = f"{found.psnr[0]:.2f} dB after 1 generation, {last}"
    show(f"{len(batch)} image(s) of {sides[1]}x{sides[0]}", text)
    say(f"curve: {out}")


def _chosen(names: str) -> "Mapping[str, Codec]":
    """The codecs that were asked for. Raises GlowkitError for one that is not there."""
    from glowkit.tasks.lossy.classical import codecs

    known = codecs()
    if names in (ALL, "none"):
        return known if names == ALL else {}
    for name in names.split(","):
        if name not in known:
            raise GlowkitError(
                f"codec {name!r} is not there; choose of {', '.join(known)}"
                + ("" if "jxl" in known else "; pip install 'glowkit[codec]' adds jxl")
            )
    return {name: known[name] for name in names.split(",")}


def _fitting(chosen: "Mapping[str, Codec]", names: str, opened: Opened) -> "Mapping[str, Codec]":
    """Those that take the model's images: none of `all`. GlowkitError where one was named."""
    from glowkit.tasks.lossy.classical import check_images

    if not chosen:
        return chosen
    try:
        check_images(opened.image_shape[0], opened.pixel_levels)
    except GlowkitError as error:
        if names != ALL:
            raise GlowkitError(f"{error}: give --codecs none") from error
        warn(f"note: {error}: they are left out")
        return {}
    return chosen


def _steps(opened: Any, levels: int) -> list[float]:
    from glowkit.cli.lossy import COARSEST, FINEST

    known = None if opened.run is None else opened.run.lossy
    finest = known.finest if known else max(1.0, levels * FINEST)
    coarsest = known.coarsest if known else levels * COARSEST
    ratio = coarsest / finest
    return [finest * ratio ** (number / (STEPS - 1)) for number in range(STEPS)]
