"""`glowkit compress` and `glowkit decompress`: images to a file by a model, and back, exactly."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glowkit.cli.common import JSON, OWN, RUN, refuse_given, show_json
from glowkit.cli.completion import runs
from glowkit.cli.images import (
    KINDS,
    LABEL,
    NAMES,
    image_batches,
    names_data,
    open_for,
    write_whole,
)
from glowkit.cli.opened import open_image_model
from glowkit.cli.speech import QUIET, moving_bar, say, show, warn
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor

    from glowkit.core import Density

DRAWS = 4
"""Dequantization draws an image that the bound is the mean of."""

READ_AT_ONCE = 256


def compress(
    run: Annotated[Path, RUN],
    images: Annotated[list[str] | None, NAMES] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write.")] = Path("images.glwk"),
    split: Annotated[
        str | None, typer.Option(help="Of DATA: train, validation or test (by default test).")
    ] = None,
    label: Annotated[str | None, LABEL] = None,
    bits: Annotated[
        int | None,
        typer.Option(help="Dequantization bits a pixel, 2 to 16: 6, or 10 where maps are curved."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Images at a time, at most.")
    ] = None,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Do not decode on the way; half of the time.")
    ] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Compress images without loss, in about as many bits as the model's bits/dim says.

    IMAGES may be DATA too, and are the run's own test split by default. Prints the size beside the
    model's bound and beside PNG, WebP and JPEG XL (with glowkit[codec]), each with a file an image
    and with all images on one sheet. The first few are coded without the model: see
    docs/compression.md.

    Example: `glowkit compress runs/digits-glow-tiny --out digits.glwk`
    """
    if out.exists():
        raise GlowkitError(f"{out} exists already; give another name with --out")
    opened = open_image_model(run, "cpu")

    import torch

    from glowkit.system.files import write_atomically
    from glowkit.tasks.coding import Codec
    from glowkit.tasks.coding.classical import classical_bits
    from glowkit.tasks.coding.container import compressed
    from glowkit.tasks.coding.stack import fast_coder

    if images and not (len(images) == 1 and names_data(images[0])):
        refuse_given("these images are of no other split than they say", split=split)
    codec = Codec.compile(opened.model, bits)
    if not fast_coder():
        warn("note: pip install 'glowkit[codec]' makes this about twice as fast")
    count, batches = image_batches(opened, images or [], split or "test", READ_AT_ONCE, label)
    parts, contexts = zip(*batches, strict=True)
    batch = torch.cat(parts)
    context = None if contexts[0] is None else torch.cat(contexts)
    with moving_bar("compressing", count) as done:
        made = compressed(codec, opened.model, batch, context, not no_verify, batch_size, done)
    write_atomically(out, made.data)
    numbers, levels = batch.numel(), opened.pixel_levels
    figures: dict[str, Any] = {
        "images": count,
        "bytes": len(made.data),
        "bits_per_dim": 8 * len(made.data) / numbers,
        "bound_bits_per_dim": _bound(opened.model, batch, context),
        "fallbacks": made.fallbacks,
    }
    others = classical_bits(batch, levels)
    if made.plain == count:
        warn(
            f"note: {count} image(s) are coded without the model: it is no shorter for them, or"
            " they are too few for bits back"
        )
    if as_json:
        sizes = {name: {"files": each, "sheet": sheet} for name, (each, sheet) in others.items()}
        about = {"run": str(run), "plain_images": made.plain, "levels": levels}
        show_json(figures | about | {"codecs": sizes, "path": str(out)})
    else:
        show(f"{count} image(s): {out}", _text(figures, made.plain, levels, others))


def decompress(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="That the file was made with.", autocompletion=runs),
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `glowkit compress` wrote.")],
    out: Annotated[Path, typer.Option(help=KINDS)] = Path("images.npz"),
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Get back the images that `glowkit compress` wrote, each value as it was.

    An array has the integers themselves, and `labels` or `context` where the model is conditional;
    PNG files have 8 bits a channel.

    Example: `glowkit decompress runs/digits-glow-tiny digits.glwk --out digits.npz`
    """
    opened = open_for(run, file, out)

    from glowkit.tasks.coding import decompress as undo

    images, context = undo(opened.model, file.read_bytes())
    count, levels = len(images), opened.pixel_levels
    write_whole(out, images, context, levels)
    if as_json:
        show_json({"run": str(run), "images": count, "levels": levels, "path": str(out)})
    else:
        say(f"{count} image(s): {out}")


def _bound(model: "Density", images: "Tensor", context: "Tensor | None") -> float:
    """The model's own figure: the mean over the images and a few draws, bits/dim."""
    import torch

    from glowkit.tasks import bits_per_dim

    noise, total = torch.Generator().manual_seed(0), 0.0
    with torch.no_grad():
        for _ in range(DRAWS):
            for start in range(0, len(images), READ_AT_ONCE):
                rows = slice(start, start + READ_AT_ONCE)
                own = None if context is None else context[rows]
                total += float(bits_per_dim(model, images[rows], own, noise).double().sum())
    return total / (DRAWS * len(images))


def _text(
    figures: Mapping[str, Any],
    plain: int,
    levels: int,
    others: "Mapping[str, tuple[float, float | None]]",
) -> dict[str, str]:
    text = {
        "size": f"{figures['bytes']:,} bytes, {figures['bits_per_dim']:.4f} bits/dim"
        f" at {levels} levels",
        "the model's bound": f"{figures['bound_bits_per_dim']:.4f} bits/dim, {DRAWS} draws",
        "without the model": f"{plain} image(s), and it could not code {figures['fallbacks']}"
        if figures["fallbacks"]
        else f"{plain} image(s), to begin with",
    }
    for name, (each, sheet) in others.items():
        on_one = "too large a sheet" if sheet is None else f"{sheet:.4f} on one sheet"
        text[name] = f"{each:.4f} bits/dim with a file an image, {on_one}"
    return text
