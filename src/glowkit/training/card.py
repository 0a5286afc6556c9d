"""The model card of a run: what the Hub shows of a model, in Markdown below a head of YAML."""

import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Any

import torch
import yaml

from glowkit.core.density import Density
from glowkit.densities.context import context_sizes
from glowkit.models.families import family_of, to_settings
from glowkit.system.errors import GlowkitError
from glowkit.training.objective import Objective
from glowkit.training.run import RunSettings, parse_yaml
from glowkit.training.subject import exactness, sign

CARD = "model-card.md"
"""Its name in a run, and not README.md, which is a person's own: the card is written anew with each
report, and must overwrite nothing that somebody wrote. A README.md in the run goes before it."""

PLACE = "USER/NAME"
"""Stands in a card for the name on the Hub, which a run does not know before it is pushed."""

_LIMITS = """\
- A likelihood is no detector of the unfamiliar: what is simple scores high, of whatever kind it is.
- A model of few data remembers them: compare samples with the training data before you show any.
- What the model may be used for also depends on the licence of the data that it was trained on."""


@dataclass(frozen=True)
class Learned:
    """What a run knows of its training.

    data: its name, as figures have it. settings: of config.yaml. steps, seconds: of metrics.csv.
    machine: that it was trained on, if known.
    """

    data: str
    settings: RunSettings
    steps: int = 0
    seconds: float = 0.0
    machine: str = ""


@dataclass(frozen=True)
class Measured:
    """The figures of an evaluation, by plain names, and the split that they are of.

    baselines: the same figure of simple models.
    """

    split: str
    figures: Mapping[str, Any]
    baselines: Mapping[str, float] = field(default_factory=dict)


def model_card(
    title: str,
    model: Density,
    objective: Objective,
    learned: Learned | None = None,
    measured: Measured | None = None,
    picture: str | None = None,
) -> str:
    """The card of a model: its figures, how it came about, how to load it, and its limits.

    learned, measured: None for a model without a run, and where nothing was measured.
    picture: a sheet of samples, by its path in the run.
    """
    family = to_settings(model.config)["family"]
    parts = [
        _head(title, family, objective, learned, measured),
        f"# {title}",
        _about(model, family, objective),
    ]
    if picture is not None:
        parts.append(f"![Samples]({picture})")
    if measured is not None:
        parts.append(_figures(model, objective, learned, measured))
    parts.append(_loading(model, objective, learned.settings.context_columns if learned else ()))
    if learned is not None:
        parts.append(_training(learned))
    return "\n\n".join([*parts, "## Limits", _LIMITS]) + "\n"


def placed(card: str, name: str, licence: str | None) -> str:
    """The card under its name on the Hub, and with a licence in its head if one is given.

    Raises GlowkitError for a card, which a person may have changed, without a head of YAML.
    """
    card = card.replace(PLACE, name)
    match = re.match(r"---\n(.*?\n)---\n", card, re.DOTALL)
    try:
        head = parse_yaml(match[1]) if match else None
    except ValueError as error:
        raise GlowkitError(f"the head of the model card is no YAML: {error}") from error
    if match is None or not isinstance(head, dict):
        raise GlowkitError(
            "the model card has no head of YAML between two lines of ---; put one there, or remove"
            " the run's README.md, so that the card of glowkit report is taken"
        )
    head |= {"license": licence} if licence else {}
    return _yaml(head) + card[match.end() :]


def is_licensed(card: str) -> bool:
    """Whether the head of a card names a licence."""
    return re.match(r"---\n(?:(?!---).*\n)*license:", card) is not None


def machine_of(device: torch.device) -> str:
    """The machine that computes, in words: its GPU, or its processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    with suppress(OSError):  # only Linux has it
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        name = found[1] if found else name
    return f"{name}, {torch.get_num_threads()} thread(s)"


def public(name: str) -> str:
    """The name of data without the folders of this machine.

    >>> public("/home/someone/photos/"), public("fashion-mnist:/data/fashion"), public("hf:a/b")
    ('photos', 'fashion-mnist:fashion', 'hf:a/b')
    """
    kind, colon, rest = name.partition(":")
    if kind in ("digits", "points") or (kind == "hf" and hub_data(name)):
        return name
    if kind in ("fashion-mnist", "emoji", "hf"):
        return kind + (colon and f":{_last(rest)}")
    if kind == "table":
        known, colon, folder = rest.partition(":")
        return f"table:{known}" + (colon and f":{_last(folder)}")
    return _last(name)


def hub_data(spec: str) -> str | None:
    """The data set of the Hub that a spec of data names; None for all else, local folders too.

    >>> hub_data("hf:someone/cats:small"), hub_data("hf:../cats"), hub_data("digits")
    ('someone/cats', None, None)
    """
    kind, _, rest = spec.partition(":")
    name = rest.partition(":")[0]
    if kind != "hf" or os.path.exists(os.path.expanduser(name)):
        return None
    return name if re.fullmatch(r"(?:\w[\w.-]*/)?\w[\w.-]*", name) else None


def _last(path: str) -> str:
    """The last part of a path, which is all that a card says of it."""
    name = PurePath(path).name
    return name if name not in ("", "..", "~") else "data"


def _yaml(head: Mapping[str, Any]) -> str:
    return f"---\n{yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True)}---\n"


def _head(
    title: str,
    family: str,
    objective: Objective,
    learned: Learned | None,
    measured: Measured | None,
) -> str:
    head: dict[str, Any] = {
        "library_name": "glowkit",
        "tags": ["glowkit", "normalizing-flow", family, "density-estimation"],
    }
    task = "unconditional-image-generation" if objective.things == "images" else "other"
    if task != "other":
        head["pipeline_tag"] = task
    spec = learned.settings.data["spec"] if learned else ""
    if (data_set := hub_data(spec)) is not None:
        head["datasets"] = [data_set]
    value = measured.figures[objective.figure] if measured else math.nan
    if learned and measured and math.isfinite(value):
        name = public(learned.data)
        # The Hub takes a number alone: what it depends on is in its name.
        error = measured.figures["standard_error"]
        metric = {
            "type": objective.figure,
            "name": f"{objective.unit} ({objective.basis(measured.figures)})"
            + (f", standard error {error:.4f}" if math.isfinite(error) else ""),
            "value": round(value, 4),
        }
        dataset = {"type": _kind(name), "name": name, "split": measured.split}
        results = [{"task": {"type": task}, "dataset": dataset, "metrics": [metric]}]
        head["model-index"] = [{"name": title, "results": results}]
    return _yaml(head).rstrip()


def _kind(name: str) -> str:
    """The name of data as the Hub writes that of a data set."""
    name = name.removeprefix("hf:")
    return re.sub(r"[^\w./-]+", "-", name).strip("-") or "data"


def _about(model: Density, family: str, objective: Objective) -> str:
    shape = getattr(model.config, "image_shape", None) or model.shape
    size = f" of {'x'.join(map(str, shape))}" if shape else ""
    levels = getattr(model, "levels", None)
    told = f", pixels of {levels} levels" if levels else ""
    return (
        f"A normalizing flow ({family}) of {objective.things}{size}{told}, with"
        f" {sum(p.numel() for p in model.parameters()):,} parameters, made by"
        " glowkit."
    )


def _figures(
    model: Density, objective: Objective, learned: Learned | None, measured: Measured
) -> str:
    figures = measured.figures
    where = f"the {measured.split} split" + (f" of {public(learned.data)}" if learned else "")
    first = (
        f"**{sign(figures)} {figures[objective.figure]:.4f} ± {figures['standard_error']:.4f}"
        f" {objective.unit}**: {exactness(figures)}; lower is better."
    )
    rows = dict(list(objective.text(figures).items())[1:])  # the first is that figure again
    rows |= {f"{name}, {objective.unit}": f"{v:.4f}" for name, v in measured.baselines.items()}
    table = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    return "\n".join([f"## On {where}", "", first, "", *table])


def _loading(model: Density, objective: Objective, columns: Sequence[str]) -> str:
    """How to sample. columns: the names of a table's context."""
    file = Path(family_of(model.config).file).name
    own = f"The model is defined in `{file}`, which is to be imported first.\n\n" if file else ""
    option = f" --model {file}" if file else ""
    out = {"images": "samples.png", "points": "samples.npy"}.get(objective.things, "rows.csv")
    _, features = context_sizes(model)
    imported, context, given, told = "", "", "", ""
    if model.classes:
        imported = "import torch\n"
        context = f"labels = torch.arange(16) % {model.classes}\n"
        given = ", context=labels"
    elif features:
        imported = "import torch\n"
        context = f"context = torch.zeros(16, {features})\n"
        given = ", context=context"
        option = f" --context={','.join(['0'] * features)}{option}"
        named = f", {', '.join(columns)} in this order" if columns else ""
        told = f"Put your own values of the context in the place of 0{named}.\n\n"
    command = f"\n    glowkit sample hf:{PLACE} --out {out}{option}"
    if features and objective.things != "rows":
        command = ""  # it gives vectors to rows alone
    return f"""## Use

    pip install 'glowkit[hf]'{command}

{told}{own}```python
import glowkit
{imported}
model = glowkit.load("hf:{PLACE}")
{context}samples = model.sample(16{given})
```"""


def _training(learned: Learned) -> str:
    settings = learned.settings
    data = settings.data | {"spec": public(settings.data["spec"])}
    held: dict[str, Any] = {"format": 1, "data": {k: v for k, v in data.items() if v is not None}}
    held |= {"model": to_settings(settings.model), "training": asdict(settings.training)}
    told = []
    if learned.steps:
        told.append(f"{learned.steps:,} steps in {learned.seconds / 60:.1f} minutes")
    if learned.machine:
        told.append(f"on {learned.machine}")
    said = f"{' '.join(told)}. " if told else ""
    if settings.lossy is None:
        said += "The same again, with the settings below in `config.yaml`:\n\n"
        said += "    glowkit train --config config.yaml"
    else:
        held["lossy"] = asdict(settings.lossy)
        said += "It was for coding with loss, by `glowkit lossy train`, with the settings below."
    text = yaml.safe_dump(held, sort_keys=False, allow_unicode=True)
    return f"## Training\n\n{said}\n\n```yaml\n{text}```"


def picture_of(run: Path, steps: Sequence[Path]) -> str | None:
    """The sheet of samples that a card shows, by its path in the run.

    That of `glowkit sample`, or else the last of `steps`, which training drew.
    """
    sheets = [path for path in (*steps[-1:], run / "samples" / "samples.png") if path.is_file()]
    return os.path.relpath(sheets[-1], run) if sheets else None


def pictures_in(card: str) -> list[str]:
    """The files of samples that a card shows, which go where it goes."""
    return re.findall(r"\]\((samples/[\w.-]+\.(?:png|gif))\)", card)
