"""How a run came about, as its report says it: time, device, versions, settings, commands."""

import platform
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glowkit import __version__
from glowkit.cli.common import given_line

if TYPE_CHECKING:
    from glowkit.cli.opened import Opened
    from glowkit.models.families import Config
    from glowkit.training import RunSettings
    from glowkit.training.report import Origin

NONE = "-"  # what a preset does not say
# What follows the data and not the preset.
FOLLOWING = ("image_shape", "pixel_levels", "dimensions", "context_features", "classes")


def remembered(former: Mapping[str, Any], resumed: bool) -> dict[str, str]:
    """What a run that ends now says of itself later: when it ended, by what, and how it was asked.

    former: what it said when it ended before, if it did: the command is that of its beginning.
    """
    import torch

    line = str(former.get("command", "")) if resumed else shlex.join(["glowkit", *given_line()])
    return {
        "command": line,
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "versions": f"glowkit {__version__}, torch {torch.__version__},"
        f" Python {platform.python_version()}",
    }


def origin_of(
    opened: "Opened", run: "RunSettings", last: Mapping[str, str], about: Mapping[str, Any]
) -> "Origin":
    """For a report.

    last: the last row of metrics.csv. about: what `remembered` gave, and "machine".
    A run trained before these were kept, or from Python, has fewer facts.
    """
    from glowkit.models import to_settings
    from glowkit.models.families import family_of
    from glowkit.training.report import Origin

    facts = {"parameters": f"{sum(p.numel() for p in opened.model.parameters()):,}"}
    steps, seconds = int(last.get("step") or 0), float(last.get("elapsed_seconds") or 0)
    if steps:
        epochs = float(last.get("epoch") or 0)
        facts["trained for"] = f"{steps:,} steps, {epochs:.1f} epochs, {seconds / 60:.1f} minutes"
    named = {"device": "machine", "versions": "versions", "ended": "date"}
    facts |= {name: str(about[key]) for name, key in named.items() if about.get(key)}
    start, changed = changes(run)
    return Origin(
        settings={
            "data": run.data,
            "model": to_settings(run.model),
            "training": asdict(run.training),
            **({"lossy": asdict(run.lossy)} if run.lossy else {}),
        },
        commands=_commands(opened.folder, run, about, family_of(run.model).option),
        facts=facts,
        start=start,
        changed=changed,
    )


def _commands(
    folder: Path, run: "RunSettings", about: Mapping[str, Any], option: str
) -> list[tuple[str, str]]:
    commands = []
    if about.get("command"):
        commands.append(("The command that began it:", str(about["command"])))
    # Quoted only where a shell would need it, as people write it.
    if run.lossy:
        line = f"glowkit lossy train --resume --out {shlex.quote(str(folder))}"
        commands.append(("To train it on:", line))
    else:
        config = shlex.quote(str(folder / "config.yaml"))
        commands.append(
            ("The same settings in a new run:", f"glowkit train --config {config}{option}")
        )
    return commands


def changes(run: "RunSettings") -> tuple[str, list[tuple[str, str, str]]]:
    """The preset that a run is closest to, and each setting with its value here and there."""
    closest, model = _closest(run.model)
    rows = [("data", run.data["spec"], NONE)]
    others = {name: value for name, value in run.data.items() if value and name != "spec"}
    rows += [(name, _said(value), NONE) for name, value in others.items()]
    rows += model
    rows += _differences(vars(run.training), _usual_training(run))
    return (
        f"the preset {closest} and the usual training" if closest else "the family's defaults",
        rows,
    )


def _usual_training(run: "RunSettings") -> dict[str, Any]:
    """What its command would have chosen itself, for the budget that there was."""
    from glowkit.cli.lossy_train import MINUTES, USUAL
    from glowkit.cli.plan import defaults_of
    from glowkit.training import TrainConfig

    plain = {field.name: field.default for field in fields(TrainConfig)}
    if run.lossy:
        return plain | USUAL | {"minutes": MINUTES}
    usual = defaults_of(run.data["spec"])
    asked = {name: getattr(run.training, name) for name in ("epochs", "minutes")}
    budget = {name: value for name, value in asked.items() if value is not None}
    chosen = plain | usual.completed(budget) | {"epochs": None, "minutes": usual.minutes}
    if run.columns:  # of a small table it chooses these itself
        chosen["whole_evaluations"] = run.training.whole_evaluations
    return chosen


def _closest(config: "Config | None") -> tuple[str, list[tuple[str, str, str]]]:
    """The preset of a config's family from which the fewest settings differ, and those."""
    from glowkit.models import PRESETS

    best: tuple[str, list[tuple[str, str, str]]] | None = None
    for name, preset in PRESETS.items():
        if type(preset) is type(config):
            rows = _differences(vars(config), vars(preset))
            if best is None or len(rows) < len(best[1]):
                best = name, rows
    if best is not None or config is None:
        return best or ("", [])
    plain = {field.name: field.default for field in fields(config)}
    return "", _differences(vars(config), plain)


def _differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The settings whose values differ; what has no default, such as an image's shape, follows."""
    return [
        (name, _said(value), _said(there[name]))
        for name, value in here.items()
        if name in there and name not in FOLLOWING and value != there[name]
    ]


def _said(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_said, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
