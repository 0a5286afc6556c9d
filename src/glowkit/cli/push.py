"""`glowkit push`: a model to the Hugging Face Hub, with its card."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glowkit.cli.common import JSON, OWN, show_json
from glowkit.cli.completion import runs
from glowkit.cli.opened import Opened, open_model
from glowkit.cli.speech import QUIET, hint, say, warn
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from collections.abc import Mapping


def push(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run or model folder.", autocompletion=runs)
    ],
    name: Annotated[str, typer.Argument(metavar="USER/NAME", help="Its name on the Hub.")],
    private: Annotated[
        bool, typer.Option("--private", help="Make a repository that others do not see.")
    ] = False,
    licence: Annotated[
        str | None,
        typer.Option("--license", metavar="ID", help="Of the model: mit, cc-by-4.0, other, ..."),
    ] = None,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Upload a model to the Hugging Face Hub, from where every command takes it as hf:USER/NAME.

    Its two files go there, the attributes that `glowkit attributes` found, and the model card that
    `glowkit report` wrote into the run, or the run's own README.md. Neither data, checkpoints nor
    logs do. Log in first, with `hf auth login`. Needs pip install 'glowkit[hf]'.

    Example: `glowkit push runs/digits-glow-tiny someone/digits --license mit`
    """
    from glowkit.models import hub

    if hub.address_of(run) is not None:
        raise GlowkitError(f"{run} is on the Hub already; push a run or model folder")
    opened = open_model(run, "cpu")  # what cannot be loaded here could be nowhere

    from glowkit.training.card import is_licensed, pictures_in, placed

    card = placed(_card(opened), name, licence)
    files = _files(opened, pictures_in(card))
    page = hub.push(files, name, card, private)
    if not is_licensed(card):
        warn("note: no licence is named, so that nobody may use the model: give --license")
    if as_json:
        uploaded = ["README.md", *files]
        show_json({"run": str(run), "name": name, "address": page, "files": uploaded})
        return
    say(f"{run}: {page}")
    hint(f"next: glowkit sample hf:{name} --out samples.png")


def _card(opened: Opened) -> str:
    """What a person wrote, or the last report, or else what the model says by itself."""
    from glowkit.system.files import read_small
    from glowkit.training.card import CARD, Learned, model_card

    for written in ("README.md", CARD):
        path = opened.folder / written
        if path.is_file():
            return read_small(path)
    learned = None if opened.run is None else Learned(opened.run.data["spec"], opened.run)
    return model_card(opened.title, opened.model, opened.objective, learned)


def _files(opened: Opened, pictures: list[str]) -> "Mapping[str, Path]":
    from glowkit.models.hub import ATTRIBUTES
    from glowkit.models.store import model_folder

    model = model_folder(opened.folder)
    files = {name: model / name for name in ("config.json", "model.safetensors")}
    others = {name: opened.folder / name for name in (ATTRIBUTES, *pictures)}
    return files | {name: path for name, path in others.items() if path.is_file()}
