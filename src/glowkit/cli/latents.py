"""`glowkit encode` and `glowkit decode`: images to their latents in a file, and back."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glowkit.cli.common import (
    DEVICE,
    JSON,
    NO_KERNELS,
    OWN,
    RUN,
    bar,
    check_dtype,
    refuse_given,
    say_broken,
    show_json,
)
from glowkit.cli.images import KINDS, LABEL, NAMES, image_batches, names_data
from glowkit.cli.opened import Opened, open_image_model
from glowkit.cli.speech import QUIET, say
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor

    from glowkit.tasks.latent import Rows

FINER = "use --dtype float64, or train the model longer"
CHANGED = "change the latents less, or train the model longer"
BATCH = typer.Option("--batch-size", min=1, help="Images at a time.")


def encode(
    run: Annotated[Path, RUN],
    images: Annotated[list[str] | None, NAMES] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help=".npz to write.")] = Path("latents.npz"),
    split: Annotated[
        str | None, typer.Option(help="Of DATA: train, validation or test (by default test).")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="float32, or float64 for deep models that lose pixels.")
    ] = "float32",
    label: Annotated[str | None, LABEL] = None,
    batch_size: Annotated[int, BATCH] = 100,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Write the latents of images into a .npz file, from which `glowkit decode` makes the images.

    IMAGES may be DATA too, and are the run's own test split by default. The file holds `noises`,
    a row for each image with all scales side by side; `sizes`, how many of its values belong to
    each scale, the finest first; and `context`, the classes, for a conditional model. Images are
    decoded again on the way, and the largest pixel error is printed.

    Example: `glowkit encode runs/digits-glow-tiny --out latents.npz`
    """
    check_dtype(dtype)
    if out.suffix.lower() != ".npz":
        raise GlowkitError(f"latents are written as .npz, not {out.name}; change --out")
    opened = open_image_model(run, device)

    import torch

    from glowkit.core import MIDPOINT
    from glowkit.tasks import join, largest_pixel_error
    from glowkit.tasks.evaluation import error_text
    from glowkit.tasks.latent import decoded, noise_sizes, writing_rows

    if images and not (len(images) == 1 and names_data(images[0])):
        refuse_given("these images are of no other split than they say", split=split)
    count, batches = image_batches(opened, images or [], split or "test", batch_size, label)
    model = opened.model.to(getattr(torch, dtype))
    sizes = noise_sizes(model)
    contexts: list[float] = []
    others = {"sizes": sizes} | ({"context": contexts} if model.classes else {})
    error, broken = 0, []
    with (
        torch.no_grad(),
        writing_rows(out, "noises", (count, sum(sizes)), dtype, others) as append,
    ):
        for batch, context in batches:
            noises, _ = model.encode(batch, context, MIDPOINT)
            again, lost = decoded(model, noises, context)
            broken.append(lost.cpu())
            error = max(error, int(largest_pixel_error(batch, again)))
            append(join(noises).cpu().numpy())
            contexts += [] if context is None else context.tolist()
    said = say_broken(broken, FINER, "their latents do not make them again")
    known = float("nan") if said["broken_images"] else error
    levels = opened.pixel_levels
    if as_json:
        about = {"run": str(run), "images": count, "largest_pixel_error": known, "levels": levels}
        show_json(about | said | {"path": str(out)})
        return
    say(f"{count} image(s), largest pixel error {error_text(known, levels)}: {out}")
    if error and dtype == "float32":
        say("float32 is too coarse for this model; try --dtype float64")


def decode(
    run: Annotated[Path, RUN],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `glowkit encode` wrote.")],
    out: Annotated[
        Path,
        typer.Option(help=KINDS),
    ] = Path("decoded.png"),
    batch_size: Annotated[int, BATCH] = 100,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Make images of latents, those that `glowkit encode` wrote or any changed ones.

    Computes in the floating-point type of the latents. An array holds the model's own integers,
    the images bit for bit; PNG files hold 8 bits a channel.

    Example: `glowkit decode runs/digits-glow-tiny latents.npz --out images.npz`
    """
    from glowkit.cli.images import (
        OFF_A_SHEET,
        check_out,
        check_sheet,
        is_sheet,
        write_images,
        write_sheet,
    )
    from glowkit.tasks.latent import Rows

    check_out(out)
    opened = open_image_model(run, device)
    rows = Rows(file, "noises")
    context = _check(opened, rows)
    count = rows.shape[0]

    import torch

    opened.model.to(torch.float64 if rows.dtype.itemsize == 8 else torch.float32)
    batches, levels = _decoded(opened, rows, context, batch_size), opened.pixel_levels
    if is_sheet(out):
        check_sheet(count, OFF_A_SHEET)
        said = write_sheet(batches, out, levels, CHANGED)
    else:
        said = write_images(batches, out, count, opened.image_shape, levels, CHANGED)
    if as_json:
        about = {"run": str(run), "images": count, "levels": levels}
        show_json(about | said | {"path": str(out)})
    else:
        say(f"{count} image(s): {out}")


def _check(opened: Opened, rows: "Rows") -> "Tensor | None":
    """Refuse latents of another model; the context that they were made with."""
    import numpy as np
    import torch

    from glowkit.tasks.latent import Rows, noise_sizes

    sizes = noise_sizes(opened.model)
    numbers = rows.dtype.kind == "f" and rows.dtype.itemsize <= 8  # torch has none of 16 bytes
    if not numbers or len(rows.shape) != 2 or rows.shape[1] != sum(sizes):
        raise GlowkitError(
            f"{rows.path} has noises of shape {rows.shape} and dtype {rows.dtype}, but this model"
            f" takes (N, {sum(sizes)}) floats; were they encoded by another model?"
        )
    if not rows.shape[0]:
        raise GlowkitError(f"{rows.path} holds no latents")
    if not opened.model.classes:
        return None
    context = np.concatenate(list(Rows(rows.path, "context").batches(rows.shape[0])))
    if context.shape != (rows.shape[0],) or context.dtype.kind not in "iu":
        raise GlowkitError(f"{rows.path} needs one whole number a latent in its array 'context'")
    return torch.from_numpy(context.astype("int64")).to(opened.device)


def _decoded(
    opened: Opened, rows: "Rows", context: "Tensor | None", batch_size: int
) -> "Iterator[tuple[Tensor, Tensor]]":
    """The images in batches, and which could not be computed."""
    import torch

    from glowkit.tasks import part
    from glowkit.tasks.latent import decoded

    model = opened.model
    starts = range(0, rows.shape[0], batch_size)
    for start, batch in zip(bar(starts, "decoding"), rows.batches(batch_size), strict=True):
        latents = torch.tensor(batch).to(opened.device, model.anchor.dtype)
        if not bool(latents.isfinite().all()):
            raise GlowkitError(
                f"{rows.path} has NaN or infinite latents among rows {start} to"
                f" {start + len(batch) - 1}"
            )
        own = None if context is None else context[start : start + len(batch)]
        with torch.no_grad():
            images, broken = decoded(model, part(model, latents), own)
        yield images, broken.cpu()
