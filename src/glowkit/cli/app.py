"""`glowkit app`: a web page of a model."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glowkit.cli.common import (
    DATA,
    DEVICE,
    JSON,
    NO_KERNELS,
    OWN,
    RUN,
    SEED,
    bar,
    check_page,
    given_line,
    refuse_given,
    say_broken,
    show_json,
)
from glowkit.cli.opened import Opened, open_image_model, open_images, prepared, split_of
from glowkit.cli.speech import QUIET, say, warn
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor

    from glowkit.app.exhibit import Exhibit
    from glowkit.data import Source
    from glowkit.tasks import Attributes

SHOWN = 16  # images to choose from
MEASURED = 500  # images in the histogram


def app(
    run: Annotated[Path, RUN],
    source: Annotated[str | None, DATA] = None,
    split: Annotated[
        str | None, typer.Option(help="train, validation or test (by default test).")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to serve at (by default 127.0.0.1); 0.0.0.0 lets other machines in."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="By default the first free one from 7860."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="PAGE.html", help="Write a page that needs no server, and stop."),
    ] = None,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Serve a page on which to sample, upload, reconstruct and interpolate images by sliders.

    It is for this machine alone unless --host says otherwise. Needs pip install 'glowkit[app]'.

    Example: `glowkit app runs/digits-glow-tiny`
    """
    if export is not None:
        refuse_given("a page in a file is served by nobody", host=host, port=port)
        _write(run, export, source, split, seed, device, as_json)
        return

    import importlib.util
    import threading

    from glowkit.app.address import free_port

    # Before anything is loaded: a taken port, and a missing library, cost nobody half a minute.
    if importlib.util.find_spec("gradio") is None:
        raise GlowkitError("the page needs Gradio: pip install 'glowkit[app]'")
    host = "127.0.0.1" if host is None else host
    free_port(host, port)

    from glowkit.app.serving import serving

    exhibit = _exhibit(open_image_model(run, device), str(run), source, split, seed, own or "")
    with serving(exhibit, host, port) as address:
        if as_json:
            show_json({"address": address})
        else:
            print(
                f"{run} is shown at {address} (Ctrl-C stops)", flush=True
            )  # whole: others read it
        threading.Event().wait()


def _write(
    run: Path,
    out: Path,
    source: str | None,
    split: str | None,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """The page as a file, of a model that JavaScript can compute."""
    check_page(out, "--export")

    from glowkit.app.export import program_of, write_page

    opened = open_image_model(run, device)
    program_of(opened.model)  # what it refuses goes before the work
    exhibit = _exhibit(opened, str(run), source, split, seed)
    size = write_page(exhibit, out, shlex.join(["glowkit", *given_line()]))
    if as_json:
        show_json({"run": str(run), "path": str(out), "bytes": size})
    else:
        say(f"{out}: {size / 1e6:.1f} MB, to be opened in a browser")


def _exhibit(
    opened: Opened, run: str, source: str | None, split: str | None, seed: int, own: str = ""
) -> "Exhibit":
    """The model with images of its data, or with samples where the run's data is gone."""
    from glowkit.app.exhibit import Exhibit
    from glowkit.app.heat import measured_heat

    title = f"glowkit: {opened.title}"
    attributes = _attributes(opened)
    try:
        data = open_images(opened, source)
    except GlowkitError as error:
        if source is not None:
            raise
        refuse_given(f"there are no images to split ({error})", split=split)
        warn(f"no images to choose from but samples, and no histogram: {error}")
        images, context = _samples(opened, seed)
        return Exhibit(
            opened.model,
            title,
            opened.class_names,
            images,
            context,
            "samples",
            attributes=attributes,
            run=run,
            heat=measured_heat(opened.model, seed),
            own=own,
        )
    split = split or "test"
    first = split_of(data, split)
    images, context = prepared(opened, data, first, range(min(SHOWN, len(first))))
    bits = _bits(opened, data, split, seed)
    origin = f"the {split} split of {data.name}"
    return Exhibit(
        opened.model,
        title,
        opened.class_names,
        images,
        context,
        origin,
        bits,
        f"{len(bits)} images of {origin}",
        attributes,
        run,
        # Of other data than the run's own, commands know only files, which the page saves.
        () if source else tuple(f"{split}:{row}" for row in range(len(images))),
        measured_heat(opened.model, seed),
        own,
    )


def _attributes(opened: Opened) -> "Attributes | None":
    """What `glowkit attributes` found; no sliders where it found nothing or for other weights."""
    from glowkit.cli.attributes import FILE, weights_of
    from glowkit.tasks import load_attributes

    path = opened.folder / FILE
    if not path.exists():
        return None
    try:
        return load_attributes(path, weights_of(opened))
    except GlowkitError as error:
        warn(f"no sliders for attributes: {error}")
        return None


def _samples(opened: Opened, seed: int) -> "tuple[Tensor, Tensor | None]":
    """Samples to choose from, without those that could not be computed."""
    from glowkit.tasks.latent import classes_in_turn, sampled

    context = classes_in_turn(opened.model, SHOWN)
    images, broken = sampled(opened.model, SHOWN, 0.7, context, opened.generator(seed))
    if broken.all():
        raise GlowkitError(
            "the page has no images: no sample of the model can be computed; name DATA, or train"
            " the model longer"
        )
    say_broken([broken], shown="they are left out")
    return images[~broken], None if context is None else context[~broken]


def _bits(opened: Opened, data: "Source", split: str, seed: int) -> "Tensor":
    """Bits/dim of the first images of a split, (M,), or nats of noisy ones."""
    import torch

    from glowkit.tasks.likelihood import in_its_unit

    model, generator = opened.model, opened.generator(seed)
    examples = data.splits[split]
    rows = torch.arange(min(MEASURED, len(examples))).split(50)
    found = []
    with torch.no_grad():
        for batch in bar(rows, f"likelihood of the {split} split"):
            images, context = prepared(opened, data, examples, batch.tolist())
            log_p = model.log_prob(images, context, generator)
            found.append(in_its_unit(model, log_p, images).cpu())
    return torch.cat(found)
