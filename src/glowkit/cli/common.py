"""What the commands share: finding a model, choosing a device, printing figures."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from glowkit.core.errors import GlowkitError

if TYPE_CHECKING:
    import torch

    from glowkit.core import Density
    from glowkit.data import PointSource, Source
    from glowkit.training import RunSettings

JSON = typer.Option("--json", help="Print one JSON object instead of text.")
SEED = typer.Option("--seed", min=0, help="Seed of all randomness.")
DEVICE = typer.Option("--device", help="auto, cpu, cuda, ...")


@dataclass(frozen=True)
class Opened:
    """A model ready for use, and the settings of its run, if RUN was a run folder."""

    model: "Density"
    device: "torch.device"
    run: "RunSettings | None"
    folder: Path


def open_model(run: Path, device: str = "auto") -> Opened:
    """Load the best model of a run folder, or a model folder."""
    import torch

    from glowkit.models import load
    from glowkit.training import RunFolder, read_run

    if not run.exists():
        raise GlowkitError(f"no such run or model folder: {run}")
    place = _device(device)
    if (run / "config.json").exists():
        return Opened(load(run).to(place), place, None, run)
    settings = read_run(run)
    folder = RunFolder(run).model
    if not folder.exists():
        raise GlowkitError(f"{run} holds no model yet; train it until its first evaluation")
    return Opened(load(folder).to(torch.device(place)), place, settings, run)


def open_data(opened: Opened, spec: str | None, skip_bad: bool = False) -> "Source | PointSource":
    """Open DATA as the model needs it, or the data its run was trained on."""
    from glowkit.data import open_source
    from glowkit.models import PointsConfig

    if spec is not None:
        config = opened.model.config
        files = spec.startswith("hf:") or Path(spec).expanduser().is_dir()
        if not files or isinstance(config, PointsConfig):
            return open_source(spec, skip_bad=skip_bad)
        channels, height, width = config.image_shape
        fit = {"size": height, "channels": channels} if height == width else {}
        return open_source(spec, skip_bad=skip_bad, **fit)
    if opened.run is None:
        raise GlowkitError(f"{opened.folder} is a model without a run; name the DATA to use")
    return open_source(**opened.run.data)


def refuse_points(opened: Opened, instead: str) -> None:
    """Refuse a model of points where images are needed."""
    from glowkit.models import PointsConfig

    if isinstance(opened.model.config, PointsConfig):
        raise GlowkitError(f"{opened.folder} is a model of points: {instead}")


def _device(name: str) -> "torch.device":
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise GlowkitError(f"device {name!r} cannot be used here; try --device cpu") from error


def show(title: str, figures: Mapping[str, str]) -> None:
    """Print a title and figures in two columns."""
    print(title)
    width = max((len(name) for name in figures), default=0)
    for name, value in figures.items():
        print(f"  {name:<{width}}  {value}")


def show_json(figures: Mapping[str, Any]) -> None:
    """Print one JSON object; what is not a finite number is null, which every reader takes."""
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }
    print(json.dumps(plain))
