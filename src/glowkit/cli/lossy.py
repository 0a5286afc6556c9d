"""`glowkit lossy compress` and `decompress`: images in fewer bits than without loss, and back."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glowkit.cli.common import JSON, OWN, refuse_given, show_json
from glowkit.cli.completion import runs
from glowkit.cli.images import KINDS, LABEL, NAMES, image_batches, is_sheet, open_for, write_whole
from glowkit.cli.opened import Opened, open_image_model
from glowkit.cli.speech import QUIET, moving_bar, say, show, warn
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor


READ_AT_ONCE = 256
SHOWN_IMAGES = 64
FINEST, USUAL, COARSEST = 1 / 256, 1 / 64, 1 / 8
"""Of the levels: the step of files, and those between which training draws."""

STEPS = 1e-9, 1e9
"""In pixel levels, the finest and the coarsest that a person can mean."""


def compress(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN2", help="A run of `glowkit lossy train`.", autocompletion=runs),
    ],
    images: Annotated[list[str] | None, NAMES] = None,
    step: Annotated[
        float | None, typer.Option(help="In pixel levels; by default a 64th of them, 4 of 256.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write.")] = Path("images.glwl"),
    split: Annotated[
        str | None, typer.Option(help="Of DATA: train, validation or test (by default test).")
    ] = None,
    label: Annotated[str | None, LABEL] = None,
    no_search: Annotated[
        bool,
        typer.Option("--no-search", help="Look for no image that stays as it is when coded again."),
    ] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Larger image files whole instead of as tiles.")
    ] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Code images with loss, at any rate that the step says, so that they can be coded again.

    IMAGES may be DATA too, and are the run's own test split by default. Image files, and a folder
    of them, keep their size, one for all: larger ones are tiles of the model's size. The mean
    squared error of a fine step is about a twelfth of its square.

    Example: `glowkit lossy compress runs/photos-lossy photo.png --step 4 --out photo.glwl`
    """
    if out.exists():
        raise GlowkitError(f"{out} exists already; give another name with --out")
    check_step(step)
    opened = open_image_model(run, "cpu")

    from glowkit.system.files import write_atomically
    from glowkit.tasks.lossy.container import compressed, psnr

    levels = opened.pixel_levels
    step = levels * USUAL if step is None else step
    batch, context = read(opened, images or [], split, label)
    unit = unit_for(opened)
    with moving_bar("coding", None) as done:
        made = compressed(
            opened.model, batch, step * unit, context, not no_search, whole, progress=done
        )
    write_atomically(out, made.data)
    pixels = batch.numel() // batch.shape[1]
    figures: dict[str, Any] = {
        "images": len(batch),
        "bytes": len(made.data),
        "bits_per_pixel": 8 * len(made.data) / pixels,
        "psnr": psnr(batch, made.images, levels),
        "step": step,
        "ideal_bits_per_pixel": made.ideal_bits / pixels,
        "fixed": made.fixed,
        "tiles": made.coded,
    }
    if as_json:
        show_json(figures | {"run": str(run), "levels": levels, "path": str(out)})
        return
    parts = "images" if made.coded == len(batch) else "tiles"
    text = {
        "size": f"{figures['bytes']:,} bytes, {figures['bits_per_pixel']:.4f} bits/pixel",
        "PSNR": f"{figures['psnr']:.2f} dB, at a step of {step:g} of {levels} levels",
        "stay as they are": f"{made.fixed} of {made.coded} {parts}, when they are coded again",
    }
    show(f"{len(batch)} image(s): {out}", text)


def decompress(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN2", help="That the file was made with.", autocompletion=runs),
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Of `glowkit lossy compress`.")],
    out: Annotated[Path, typer.Option(help=KINDS)] = Path("images.npz"),
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Decode what `glowkit lossy compress` wrote: the same values on every machine.

    Example: `glowkit lossy decompress runs/photos-lossy photo.glwl --out photo.png`
    """
    opened = open_for(run, file, out)

    from glowkit.pictures.sheet import save_png, to_pil
    from glowkit.tasks.lossy import decompress as undo

    images, context = undo(opened.model, file.read_bytes())
    count, levels = len(images), opened.pixel_levels
    if is_sheet(out) and count == 1:
        save_png(to_pil(images[0], levels), out)
    else:
        write_whole(out, images, context, levels)
    if as_json:
        show_json({"run": str(run), "images": count, "levels": levels, "path": str(out)})
    else:
        say(f"{count} image(s): {out}")


def check_step(step: float | None) -> None:
    """Refuse a step in pixel levels that is none."""
    least, most = STEPS
    if step is not None and not least <= step <= most:
        raise GlowkitError(
            f"--step {step:g} is no step in pixel levels; give one above 0, for example 4"
        )


def unit_for(opened: Opened) -> float:
    """Units of a latent a pixel level; where no run says it, those of the model's samples."""
    import torch

    from glowkit.tasks.latent import classes_in_turn
    from glowkit.tasks.lossy import check_lossy, unit_of

    check_lossy(opened.model)
    known = None if opened.run is None else opened.run.lossy
    if known is not None:
        return known.unit
    if opened.run is None:
        warn(
            f"note: {opened.name} is a model without its run, which alone says whether it was"
            " trained for coding with loss: the unit of steps is measured on the model's samples,"
            " so that --step may mean something else than with the run"
        )
    else:
        warn(
            f"note: {opened.name} was trained for its likelihood, which makes a poor codec with"
            " loss; train it on with glowkit lossy train"
        )
    context = classes_in_turn(opened.model, SHOWN_IMAGES)
    noise = torch.Generator().manual_seed(0)
    drawn = opened.model.sample(SHOWN_IMAGES, 0.7, context, noise)
    return float(f"{unit_of(opened.model, drawn, context):.2g}")


def read(
    opened: Opened, names: Sequence[str], split: str | None, label: str | None
) -> "tuple[Tensor, Tensor | None]":
    """The images of these names and their context; image files keep their size."""
    import torch

    files = _files(names)
    if not files:
        if any(map(_is_file, names)):
            raise GlowkitError(
                "image files keep their size, and images of a split or a folder may have another:"
                " code them into a file of their own"
            )
        _, batches = image_batches(opened, names, split or "test", READ_AT_ONCE, label)
        parts, contexts = zip(*batches, strict=True)
        return torch.cat(parts), None if contexts[0] is None else torch.cat(contexts)
    refuse_given("these images are of no split", split=split)
    from glowkit.data import read_picture
    from glowkit.data.picture import BadImage, read_header

    found: list[Tensor] = []
    channels, _, _ = opened.image_shape
    for path in files:
        try:
            size = read_header(path).size
        except BadImage as error:
            raise GlowkitError(f"{path} cannot be read as an image: {error}") from error
        if size is None:
            raise GlowkitError(f"{path} does not say its size; save it as PNG")
        picture = read_picture(path, (channels, size[1], size[0]), opened.pixel_levels)
        for note in picture.notes:
            warn(f"note: {note}")
        if found and picture.image.shape != found[0].shape:
            raise GlowkitError(
                f"{path} is of another size than {files[0]}; code images of each size into a file"
                " of its own"
            )
        found.append(picture.image)
    if not opened.model.classes:
        refuse_given("the model has no classes", **{"class": label})
        return torch.cat(found), None
    if label is None:
        raise GlowkitError("this model is conditional; give the class of image files with --class")
    return torch.cat(found), torch.full((len(found),), opened.class_number(label))


def _files(names: Sequence[str]) -> list[Path]:
    """The image files among names, where they are nothing else; those of a folder too."""
    from glowkit.data.folder import list_images

    paths = [Path(os.path.expanduser(name)) for name in names]
    if len(paths) == 1 and os.path.isdir(paths[0]):
        return [paths[0] / each for each in list_images(paths[0]).paths]
    return paths if all(map(_is_file, names)) else []


def _is_file(name: str) -> bool:
    """Whether a name is of an image file, rather than of a split, a folder or an array."""
    from glowkit.data.folder import SUFFIXES

    path = Path(os.path.expanduser(name))
    suffix = path.suffix.lower()
    return suffix in SUFFIXES or (os.path.isfile(path) and suffix not in (".npy", ".npz"))
