"""`glowkit edit`: give images an attribute, or take it from them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glowkit.cli import completion
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
from glowkit.cli.opened import open_image_model
from glowkit.cli.speech import QUIET, say
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor

    from glowkit.core import LogPKind
    from glowkit.tasks import Attributes

Column = tuple[str, dict[str, float]]


def edit(
    run: Annotated[Path, RUN],
    images: Annotated[list[str], NAMES],
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=AMOUNT",
            help="Add so much of an attribute; may be repeated.",
            autocompletion=completion.attributes,
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=AMOUNT",
            help="Draw the way from -AMOUNT to AMOUNT.",
            autocompletion=completion.attributes,
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=2, help="Images of a sweep (9).")
    ] = None,
    label: Annotated[str | None, LABEL] = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG to write; by default RUN/samples/edit.png.")
    ] = None,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Draw images before and after an edit of their attributes, a row each.

    `glowkit attributes RUN` must have found the attributes; an amount of 0.6 or so goes from the
    mean image that lacks one to the mean image that has it. Prints bits/dim before and after, and
    the percentage of real images that have less: an edit beyond them all leaves what the model
    knows.

    Example: `glowkit edit runs/emoji test:4 --attribute dark-skin=0.6 --attribute woman=-0.4`
    """
    from glowkit.cli.images import check_sheet
    from glowkit.tasks.latent import check_meaning

    if sweep is None:
        refuse_given("only a sweep has steps", count=count)
    count = 9 if count is None else count
    check_sheet(count)
    columns = _columns(attribute or [], sweep, count)
    opened = open_image_model(run, device)
    check_meaning(opened.model)
    out = out or opened.within("samples", "edit.png")

    import torch

    from glowkit.cli.attributes import FILE, weights_of
    from glowkit.core import MIDPOINT
    from glowkit.pictures.sheet import image_sheet, save_png
    from glowkit.tasks import bits_per_dim, join, load_attributes
    from glowkit.tasks.attributes import SMALLER, edit_latents

    known = load_attributes(opened.folder / FILE, weights_of(opened))
    for _, amounts in columns:
        known.shift(amounts)  # an unknown name is refused before anything is computed
    batch, context = named_images(opened, images, label)
    check_sheet(len(batch) * len(columns))
    drawn, broken, bits = [], [], []
    with torch.no_grad():
        latents = join(opened.model.encode(batch, context, MIDPOINT)[0])
        for _, amounts in columns:
            after, lost = edit_latents(opened.model, latents, known, amounts, context)
            drawn.append(after)
            broken.append(lost.cpu())
            each = bits_per_dim(opened.model, after, context, opened.generator(seed)).cpu()
            bits.append(each.masked_fill(broken[-1], torch.nan))
    names, headings = name_each(images), [heading for heading, _ in columns]
    rows = list(zip(names, torch.stack(drawn, 1).cpu(), strict=True))
    levels = opened.pixel_levels
    marks = list(torch.stack(broken, 1))
    save_png(image_sheet(rows, levels, headings=headings, broken=marks), out)
    about = {"levels": levels, "kind": opened.model.log_p_kind, "importance_samples": 1}
    about |= say_broken(broken, SMALLER)
    asked = {"run": str(run), "seed": seed}
    _say(known, names, columns, torch.stack(bits, 1), asked | about, out, as_json)


def _say(
    known: "Attributes",
    names: Sequence[str],
    columns: Sequence[Column],
    bits: "Tensor",
    about: Mapping[str, Any],
    out: Path,
    as_json: bool,
) -> None:
    headings = [heading for heading, _ in columns]
    if as_json:
        real = {f"{at}%": float(known.percentiles[at]) for at in (50, 95, 99, 100)}
        edits = [
            {"image": name, "bits_per_dim": row}
            for name, row in zip(names, bits.tolist(), strict=True)
        ]
        show_json(
            {
                "columns": [amounts for _, amounts in columns],
                "edits": edits,
                "real_bits_per_dim": real,
                **about,
                "path": str(out),
            }
        )
        return
    from glowkit.tasks.likelihood import ONE_DRAW, SIGNS

    kind: LogPKind = about["kind"]
    sign = SIGNS[kind]
    median, high = known.percentiles[[50, 99]].tolist()
    say(
        f"bits/dim at {about['levels']} levels ({sign}){ONE_DRAW[kind]}; of the real (test)"
        f" images half lie below {median:.3f}, 99% below {high:.3f}"
    )
    width = max(map(len, names))
    for name, row in zip(names, bits.tolist(), strict=True):
        said = [
            f"{heading} broken"
            if math.isnan(value)
            else f"{heading} {value:.3f} ({known.percentile(value):.0f}%)"
            for heading, value in zip(headings, row, strict=True)
        ]
        say(f"  {name:<{width}}  " + "  ".join(said), " " * (width + 4))
    say(str(out))


def _columns(attribute: Sequence[str], sweep: str | None, frames: int) -> list[Column]:
    """What is drawn in each column: a heading and the amounts of its edit."""
    fixed: dict[str, float] = {}
    for text in attribute:
        name, amount = _amount(text)
        fixed[name] = fixed.get(name, 0.0) + amount
    if sweep is None:
        if not fixed:
            raise GlowkitError("say what to change, with --attribute NAME=AMOUNT or --sweep")
        return [("before", {}), ("after", fixed)]
    name, most = _amount(sweep)
    steps = [most * (2 * frame / (frames - 1) - 1) for frame in range(frames)]
    return [(f"{step:+.2g}", fixed | {name: fixed.get(name, 0.0) + step}) for step in steps]


def _amount(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if not name or not math.isfinite(amount):
        raise GlowkitError(
            f"an attribute is given as NAME=AMOUNT, such as smiling=0.6, not {text!r}"
        )
    return name, amount
