"""What the commands do with points: figures in nats, pictures of the plane."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from glowkit.cli.speech import say
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor

    from glowkit.cli.common import Opened


def sample_points(
    opened: "Opened",
    count: int,
    temperatures: Sequence[float],
    out: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Draw points into pictures beside the density (.png), or into an array (.npy)."""
    import torch

    from glowkit.cli.common import say_broken, show_json
    from glowkit.core.finite import finite_examples

    out = out or opened.folder / "samples" / "samples.png"
    if count < 1:
        raise GlowkitError(f"cannot draw {count} samples; give --count 1 or more")
    if out.suffix not in (".png", ".npy"):
        raise GlowkitError(f"{out} is of no known kind; give --out a name in .png or .npy")
    if out.suffix == ".npy" and len(temperatures) > 1:
        raise GlowkitError("an array takes the points of one temperature; give --temperature one")
    drawn = []
    for temperature in temperatures:
        generator = torch.Generator(opened.device).manual_seed(seed)
        noises = opened.model.draw_noises(count, temperature, generator)
        with torch.no_grad():
            drawn.append(opened.model.decode(noises)[0].cpu())
    said = say_broken(
        [~finite_examples(points) for points in drawn],
        shown="these points are not finite, and so not drawn",
        things="points",
    )
    if out.suffix == ".npy":
        _save_array(drawn[0], out)
    else:
        _save_picture(opened, temperatures, drawn, out)
    if as_json:
        total = count * len(temperatures)
        about = {"points": total, "temperatures": list(temperatures)}
        own = {"run": str(opened.folder), "seed": seed}
        show_json(own | about | said | {"path": str(out)})
    else:
        say(f"{count} points at each of {len(temperatures)} temperature(s): {out}")


def _save_array(points: "Tensor", out: Path) -> None:
    import numpy as np

    from glowkit.system.files import replacing

    with replacing(out) as temporary:
        np.save(temporary, points.numpy())


def _save_picture(
    opened: "Opened", temperatures: Sequence[float], drawn: "Sequence[Tensor]", out: Path
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
