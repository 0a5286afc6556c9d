"""`glowkit sample`: draw images, or points."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glowkit.cli.common import DEVICE, JSON, SEED, open_model, show_json
from glowkit.cli.points import sample_points
from glowkit.core.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor


def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run or model folder.")],
    count: Annotated[
        int | None, typer.Option("--count", "-n", help="Images a row (10), or points (5000).")
    ] = None,
    temperature: Annotated[
        str | None,
        typer.Option(
            help="One value or several, separated by commas: a row each (0.7,1.0; points 1.0)."
        ),
    ] = None,
    label: Annotated[
        int | None, typer.Option("--class", help="Class of every sample (conditional models).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="PNG to write, by default RUN/samples/samples.png; .npy for points."),
    ] = None,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Draw a sheet of samples, one labelled row for each temperature, all from the same noise.

    Of points: a panel for each temperature, beside the density; or an array, with --out NAME.npy.
    A conditional model without --class draws its classes in turn.

    Example: `glowkit sample runs/digits-glow-tiny --temperature 0,0.5,0.7,1.0 -n 12`
    """
    from glowkit.models import PointsConfig

    opened = open_model(run, device)
    points = isinstance(opened.model.config, PointsConfig)
    temperatures = _temperatures(temperature or ("1.0" if points else "0.7,1.0"))
    count = (5000 if points else 10) if count is None else count
    if count < 1:
        raise GlowkitError(f"cannot draw {count} samples; give --count 1 or more")
    out = out or run / "samples" / "samples.png"
    if points:
        if label is not None:
            raise GlowkitError("this model has no classes; leave out --class")
        sample_points(opened, count, temperatures, out, seed)
        _say("points", count, temperatures, out, as_json)
        return
    context = _context(opened.model.config.classes, label, count)

    import torch
    from rich.console import Console
    from rich.progress import track

    from glowkit.tasks.sheet import image_sheet, save_png

    console = Console(stderr=True)
    rows = []
    for value in track(
        temperatures, "sampling", console=console, transient=True, disable=not console.is_terminal
    ):
        generator = torch.Generator(opened.device).manual_seed(seed)
        images = opened.model.sample(
            count, value, None if context is None else context.to(opened.device), generator
        )
        rows.append((f"temperature {value:g}", images.cpu()))
    save_png(image_sheet(rows, opened.model.config.pixel_levels), out)
    _say("samples", count, temperatures, out, as_json)


def _say(things: str, count: int, temperatures: list[float], out: Path, as_json: bool) -> None:
    if as_json:
        total = count * len(temperatures)
        show_json({things: total, "temperatures": temperatures, "path": str(out)})
    else:
        print(f"{count} {things} at each of {len(temperatures)} temperature(s): {out}")


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


def _context(classes: int, label: int | None, count: int) -> "Tensor | None":
    import torch

    if not classes:
        if label is not None:
            raise GlowkitError("this model has no classes; leave out --class")
        return None
    if label is None:
        return torch.arange(count) % classes
    if not 0 <= label < classes:
        raise GlowkitError(
            f"class {label} does not exist; this model has classes 0 to {classes - 1}"
        )
    return torch.full((count,), label)
