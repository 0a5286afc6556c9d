"""Samples of points and of tables, and what `glowkit sample` asks and says of all kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glowkit.cli.common import refuse_given, say_broken, show_json
from glowkit.cli.opened import Opened
from glowkit.cli.speech import say
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Asked:
    """The options of `glowkit sample`."""

    count: int | None
    temperature: str | None
    label: str | None
    each: bool
    out: Path | None
    batch_size: int | None
    context: str | None
    guidance: float | None
    attention: float | None
    noisy: bool
    seed: int
    as_json: bool


def draw_table(opened: Opened, asked: Asked) -> None:
    """Draw rows of a table into a file under the names of their columns."""
    from glowkit.cli.rows import check_rows_out, contexts_of, draw_rows, names_of, write_rows

    if asked.label is not None or asked.each:
        raise GlowkitError("rows have no classes; leave out --class and --each-class")
    refuse_given("rows are drawn in batches of their own", batch_size=asked.batch_size)
    out = asked.out or opened.within("samples", "rows.csv")
    check_rows_out(out)
    temperatures = temperatures_of(asked.temperature or "1.0")
    if len(temperatures) > 1:
        raise GlowkitError("a file takes the rows of one temperature; give --temperature one")
    count = None if asked.count is None else count_of(asked, 1)
    context, count = contexts_of(opened, asked.context, count)
    rows, broken = draw_rows(opened, count, context, temperatures[0], asked.seed)
    columns, given = names_of(opened)
    write_rows(rows, [*columns, *given], out)
    said = say_broken([broken], shown="they hold NaN or infinity in the file", things="rows")
    about = {"rows": count, "temperatures": temperatures, "columns": list(columns)}
    about |= {"context_columns": list(given)}
    tell(opened, asked, about | said, out, f"{count} rows of {len(columns)} column(s): {out}")


def draw_points(opened: Opened, asked: Asked) -> None:
    """Draw points into pictures beside the density (.png), or into an array (.npy)."""
    from glowkit.tasks.latent import sampled

    if asked.label is not None or asked.each:
        raise GlowkitError("points have no classes; leave out --class and --each-class")
    refuse_given("points are given nothing", context=asked.context)
    refuse_given("points are drawn at once", batch_size=asked.batch_size)
    count = count_of(asked, 5000)
    temperatures = temperatures_of(asked.temperature or "1.0")
    out = asked.out or opened.within("samples", "samples.png")
    if out.suffix not in (".png", ".npy"):
        raise GlowkitError(f"{out} is of no known kind; give --out a name in .png or .npy")
    if out.suffix == ".npy" and len(temperatures) > 1:
        raise GlowkitError("an array takes the points of one temperature; give --temperature one")
    drawn, broken = [], []
    for temperature in temperatures:
        generator = opened.generator(asked.seed)
        points, lost = sampled(opened.model, count, temperature, None, generator)
        drawn.append(points.cpu())
        broken.append(lost.cpu())
    said = say_broken(
        broken,
        shown="these points are not finite, and so not drawn",
        things="points",
    )
    if out.suffix == ".npy":
        import numpy as np

        from glowkit.system.files import replacing

        with replacing(out) as temporary:
            np.save(temporary, drawn[0].numpy())
    else:
        _save_picture(opened, temperatures, drawn, out)
    about = {"points": count * len(temperatures), "temperatures": temperatures}
    shown = f"{count} points at each of {len(temperatures)} temperature(s): {out}"
    tell(opened, asked, about | said, out, shown)


def _save_picture(
    opened: Opened, temperatures: Sequence[float], drawn: "Sequence[Tensor]", out: Path
) -> None:
    import torch

    from glowkit.pictures.plots import Panel, density_panel, plane_image
    from glowkit.pictures.sheet import save_png

    if opened.model.shape not in (None, (2,)):
        raise GlowkitError("only points in the plane can be drawn; give --out a name in .npy")
    # A square that holds all but the most far-flung of the points, and something at temperature 0.
    farthest = torch.cat(list(drawn)).abs().amax(1)
    farthest = farthest[farthest.isfinite()]
    half_side = 1.2 * float(farthest.quantile(0.995)) if len(farthest) else 1.0
    panels: list[Panel] = [
        (f"temperature {temperature:g}", points)
        for temperature, points in zip(temperatures, drawn, strict=True)
    ]
    save_png(plane_image([*panels, density_panel(opened.model)], max(half_side, 1e-3)), out)


def count_of(asked: Asked, usual: int) -> int:
    count = usual if asked.count is None else asked.count
    if count < 1:
        raise GlowkitError(f"cannot draw {count} samples; give --count 1 or more")
    return count


def tell(opened: Opened, asked: Asked, about: Mapping[str, object], out: Path, shown: str) -> None:
    if asked.as_json:
        own = {"run": opened.name, "seed": asked.seed}
        show_json(own | dict(about) | {"path": str(out)})
    else:
        say(shown)


def temperatures_of(text: str) -> list[float]:
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
