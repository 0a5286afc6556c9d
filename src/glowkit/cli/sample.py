"""glowkit sample: images, points or rows of a table drawn from a model."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from glowkit.cli.common import (
    DEVICE,
    JSON,
    NO_KERNELS,
    OWN,
    RUN,
    SEED,
    bar,
    refuse_given,
    say_broken,
)
from glowkit.cli.images import KINDS
from glowkit.cli.opened import Opened, open_model
from glowkit.cli.sample_rows import Asked, count_of, draw_points, draw_table, tell, temperatures_of
from glowkit.cli.speech import QUIET
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor

    from glowkit.core import Density


def sample(
    run: Annotated[Path, RUN],
    count: Annotated[
        int | None,
        typer.Option("--count", "-n", help="Images a row (10), points (5000) or rows (1000)."),
    ] = None,
    temperature: Annotated[
        str | None,
        typer.Option(
            help="One value or several, separated by commas: a row each; by default 0.7,1.0 on a"
            " sheet, else 1.0."
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--class", help="Class of every sample, by name or number."),
    ] = None,
    each: Annotated[
        bool, typer.Option("--each-class", help="The same noise under each class, a row a class.")
    ] = False,
    context: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|VALUES",
            help="Of a conditional table: a file with the context's columns, for each of whose rows"
            " --count (1) are drawn, or one value of each, separated by commas.",
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            help="Weight by which a TarFlow's samples are pushed away from those without a label;"
            " 0 is none, and 1 to 3 are usual."
        ),
    ] = None,
    attention: Annotated[
        float | None,
        typer.Option(
            "--attention-temperature",
            help="Of the attention of what guidance pushes away from, 1 as it comes.",
        ),
    ] = None,
    noisy: Annotated[
        bool,
        typer.Option("--noisy", help="Leave in the noise that a model was trained with."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help=f"{KINDS} By default RUN/samples/samples.png."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", min=1, help="Images at a time: 100, on a sheet a row."),
    ] = None,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Draw a sheet of samples, one labelled row for each temperature, all from the same noise.

    Off a sheet any number of samples goes to disk in batches, all at one temperature.

    A conditional model draws its classes in turn, or one (--class), or a row of each (--each-class)
    where the images of a column differ in nothing but their class. Samples of a model that was
    trained with noise on its images are denoised.

    Of points: a panel for each temperature, beside the density; or an array, with --out NAME.npy.

    Of a table: rows under the names of its columns, RUN/samples/rows.csv or --out NAME.parquet.

    Example: `glowkit sample runs/digits-glow-tiny --temperature 0,0.5,0.7,1.0 -n 12`
    """
    opened = open_model(run, device)
    asked = Asked(
        count=count,
        temperature=temperature,
        label=label,
        each=each,
        out=out,
        batch_size=batch_size,
        context=context,
        guidance=guidance,
        attention=attention,
        noisy=noisy,
        seed=seed,
        as_json=as_json,
    )
    things = opened.objective.things
    if things != "images":
        refuse_given(
            f"these options are for images, and this is a model of {things}",
            guidance=guidance,
            attention_temperature=attention,
            noisy=noisy,
        )
    _DRAWN[things](opened, asked)


def _draw_images(opened: Opened, asked: Asked) -> None:
    from glowkit.cli.images import OFF_A_SHEET, check_out, check_sheet, is_sheet, write_images

    refuse_given("images are given classes alone", context=asked.context)
    count = count_of(asked, 10)
    each, batch_size, seed = asked.each, asked.batch_size, asked.seed
    out = asked.out or opened.within("samples", "samples.png")
    temperatures = temperatures_of(asked.temperature or ("0.7,1.0" if is_sheet(out) else "1.0"))
    rows_each = len(opened.class_names) if each else 1
    if is_sheet(out):
        check_sheet(count * len(temperatures) * rows_each, OFF_A_SHEET)
    elif len(temperatures) > 1:
        raise GlowkitError("several temperatures make a sheet; give one, or a .png as --out")
    check_out(out)
    way = _way(opened, asked)
    contexts = _contexts(opened, asked.label, each, count)

    if not is_sheet(out):
        if each:
            raise GlowkitError("--each-class makes a sheet; give a .png as --out")
        levels = opened.pixel_levels
        ((_, context),) = contexts
        batch = batch_size or 100
        starts = bar(range(0, count, batch), "sampling")
        batches = _stream(opened, count, temperatures[0], context, seed, batch, starts, way)
        said = write_images(batches, out, count, opened.image_shape, levels)
        about = {"samples": count, "temperatures": temperatures, "levels": levels, **way.told}
        shown = f"{count} samples at temperature {temperatures[0]:g}: {out}"
        tell(opened, asked, about | said, out, shown)
        return

    import torch

    from glowkit.pictures.sheet import image_sheet, save_png

    rows, every = [], []
    wanted = [(value, *named) for value in temperatures for named in contexts]
    for value, name, context in bar(wanted, "sampling"):
        batch = batch_size or count
        places = range(0, count, batch)
        drawn = list(_stream(opened, count, value, context, seed, batch, places, way))
        images, broken = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        rows.append((name + f"temperature {value:g}", images.cpu()))
        every.append(broken)
    levels = opened.pixel_levels
    save_png(image_sheet(rows, levels, broken=every), out)
    said = say_broken(every)
    about = {"samples": count * len(rows), "temperatures": temperatures, "levels": levels}
    about |= way.told
    of_each = f", of each of {len(contexts)} classes" if each else ""
    shown = f"{count} samples at each of {len(temperatures)} temperature(s){of_each}: {out}"
    tell(opened, asked, about | said, out, shown)


_DRAWN = {"images": _draw_images, "points": draw_points, "rows": draw_table}


class _Way(NamedTuple):
    """How noises become images: by the model itself, unless another decodes them."""

    decoder: "Density | None"
    clean: bool
    told: dict[str, object]


def _way(opened: Opened, asked: Asked) -> _Way:
    from glowkit.densities import noise_of
    from glowkit.tasks.guidance import guided

    noise = noise_of(opened.model)
    if asked.noisy and not noise:
        raise GlowkitError("this model was trained without noise; leave out --noisy")
    told: dict[str, object] = {"noise_left": noise if asked.noisy else 0.0} if noise else {}
    if asked.guidance is None:
        refuse_given(
            "it is of what --guidance pushes samples away from",
            attention_temperature=asked.attention,
        )
        return _Way(None, not asked.noisy, told)
    attention = 1.0 if asked.attention is None else asked.attention
    told |= {"guidance": asked.guidance, "attention_temperature": attention}
    return _Way(guided(opened.model, asked.guidance, attention), not asked.noisy, told)


def _stream(
    opened: Opened,
    count: int,
    temperature: float,
    context: "Tensor | None",
    seed: int,
    batch_size: int,
    starts: Iterable[int],
    way: _Way,
) -> "Iterator[tuple[Tensor, Tensor]]":
    """The samples in batches from these on, and which are broken, all from one generator."""
    from glowkit.tasks.latent import sampled

    generator = opened.generator(seed)
    for start in starts:
        number = min(batch_size, count - start)
        own = None if context is None else context[start : start + number]
        images, broken = sampled(
            opened.model, number, temperature, own, generator, way.decoder, way.clean
        )
        yield images, broken.cpu()


def _contexts(
    opened: Opened, label: str | None, each: bool, count: int
) -> "list[tuple[str, Tensor | None]]":
    """How the label of a row of samples begins, and their context."""
    import torch

    from glowkit.tasks.latent import classes_in_turn

    classes = opened.model.classes

    def all_of(number: int) -> "Tensor":
        return torch.full((count,), number, device=opened.device)

    if each:
        if label is not None:
            raise GlowkitError(
                "--class draws one class and --each-class all; leave one of them out"
            )
        if not classes:
            raise GlowkitError("this model has no classes; leave out --each-class")
        return [(f"{name}, ", all_of(number)) for number, name in enumerate(opened.class_names)]
    if label is not None:
        return [("", all_of(opened.class_number(label)))]
    return [("", classes_in_turn(opened.model, count))]
