"""What the commands do with points: figures in nats, pictures of the plane."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glowkit.cli.speech import say
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor

    from glowkit.cli.common import Opened
    from glowkit.data import PointSource


def assess_points(
    opened: "Opened", data: "PointSource", split: str, batch_size: int
) -> dict[str, Any]:
    """Evaluate a model on one split of the points; the figures by their plain names."""
    import torch

    from glowkit.cli.common import split_batches
    from glowkit.tasks import evaluate_points

    def log_p(points: "Tensor") -> "Tensor":
        return torch.from_numpy(data.density.log_prob(points.double().cpu().numpy()))

    batches = split_batches(opened, data, split, batch_size)
    entropy = data.density.entropy()
    return asdict(evaluate_points(opened.model, batches, entropy, log_p))


def points_text(figures: Mapping[str, Any]) -> dict[str, str]:
    """Figures of points as a person reads them."""
    error = f"± {figures['standard_error']:.4f}"
    broken = f"; {figures['broken_points']} points could not be" if figures["broken_points"] else ""
    paired = f"{figures['paired_kl_nats']:.4f} ± {figures['paired_standard_error']:.4f}"
    return {
        "NLL": f"{figures['nll_nats']:.4f} {error} nats (mean and standard error; exact)",
        "entropy": f"{figures['entropy_nats']:.4f} nats, of the density itself",
        "KL": f"{figures['kl_nats']:.4f} {error} nats (NLL less the entropy)",
        "KL, paired": f"{paired} nats (mean of ln p/q)",
        "points": str(figures["points"]),
        "largest error": f"{figures['largest_error']:.1e}, of decode(encode(x)){broken}",
    }


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

    if opened.model.config.dimensions != 2:
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
