"""`glowkit sample`: draw images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glowkit.cli.common import DEVICE, JSON, SEED, Opened, open_model, show_json
from glowkit.core.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor


def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run or model folder.")],
    count: Annotated[int, typer.Option("--count", "-n", help="Images a row.")] = 10,
    temperature: Annotated[
        str, typer.Option(help="One value or several, separated by commas: a row each.")
    ] = "0.7,1.0",
    label: Annotated[
        str | None,
        typer.Option("--class", help="Class of every sample, by name or number."),
    ] = None,
    each: Annotated[
        bool, typer.Option("--each-class", help="The same noise under each class, a row a class.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="PNG to write; by default RUN/samples/samples.png.")
    ] = None,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Draw a sheet of samples, one labelled row for each temperature, all from the same noise.

    A conditional model draws its classes in turn, or one (--class), or a row of each (--each-class)
    where the images of a column differ in nothing but their class.

    Example: `glowkit sample runs/digits-glow-tiny --temperature 0,0.5,0.7,1.0 -n 12`
    """
    temperatures = _temperatures(temperature)
    if count < 1:
        raise GlowkitError(f"cannot draw {count} samples; give --count 1 or more")
    opened = open_model(run, device)
    out = out or run / "samples" / "samples.png"
    contexts = _contexts(opened, label, each, count)

    import torch
    from rich.console import Console
    from rich.progress import track

    from glowkit.tasks.sheet import image_sheet, save_png

    console = Console(stderr=True)
    rows = []
    wanted = [(value, *named) for value in temperatures for named in contexts]
    for value, name, context in track(
        wanted, "sampling", console=console, transient=True, disable=not console.is_terminal
    ):
        generator = torch.Generator(opened.device).manual_seed(seed)
        images = opened.model.sample(count, value, context, generator)
        rows.append((name + f"temperature {value:g}", images.cpu()))
    save_png(image_sheet(rows, opened.model.config.pixel_levels), out)
    if as_json:
        show_json({"samples": count * len(rows), "temperatures": temperatures, "path": str(out)})
    else:
        of_each = f", of each of {len(contexts)} classes" if each else ""
        print(f"{count} samples at each of {len(temperatures)} temperature(s){of_each}: {out}")


def _temperatures(text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise GlowkitError(
            f"temperature {text!r} is not a number; give one or several, such as 0.5,0.7,1.0"
        ) from error
    for value in values:
        if not 0 <= value < float("inf"):
            raise GlowkitError(f"temperature {value:g} makes no sense; give 0 or more")
    return values


def _contexts(
    opened: Opened, label: str | None, each: bool, count: int
) -> "list[tuple[str, Tensor | None]]":
    """How the label of a row of samples begins, and their context."""
    import torch

    classes = opened.model.config.classes

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
    return [("", torch.arange(count, device=opened.device) % classes if classes else None)]
