"""What the commands share: finding a model, choosing a device, printing figures."""

import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from glowkit.cli.speech import is_quiet, warn
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from glowkit.core import Density
    from glowkit.data import AnySource, Source
    from glowkit.training import RunSettings
    from glowkit.training.batches import Split
    from glowkit.training.objective import Objective

RUN = typer.Argument(metavar="RUN", help="A run or model folder, or hf:USER/NAME.")
DATA = typer.Argument(metavar="DATA", help="Data; by default what the run was trained on.")
JSON = typer.Option("--json", help="Print one JSON object instead of text.")
SEED = typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of all randomness.")
DEVICE = typer.Option("--device", help="auto, cpu, cuda, ...")

KERNELS = "GLOWKIT_KERNELS"  # of the environment, so that processes started by this one see it too


def _switch_off(off: bool) -> bool:
    if off:
        os.environ[KERNELS] = "0"
    return off


NO_KERNELS = typer.Option(
    "--no-kernels", callback=_switch_off, help="Plain torch instead of compiled kernels."
)


def _run_own(path: str | None) -> str | None:
    if path is not None:
        from glowkit.models.own import import_file

        import_file(path)
    return path


OWN = typer.Option(
    "--model",
    metavar="FILE.py",
    callback=_run_own,
    help="The Python file that defines a model of your own; its code is run.",
)
SPLIT = typer.Option("--split", help="train, validation or test.")
IMPORTANCE = typer.Option(
    "--importance", help="Draws an example of a bound, as of dequantization; more tighten it."
)
DRAWS = typer.Option("--draws", help="Draws of a log p that is estimated, which are averaged.")
BASELINES = typer.Option(
    "--baselines", help="Fit a Gaussian and a mixture to large images and wide tables too."
)

DTYPES = ("float32", "float64")


MOST_NAMED = 10  # classes in a sentence
T = TypeVar("T")


@dataclass(frozen=True)
class Opened:
    """A model ready for use, and the settings of its run, if RUN was a run folder."""

    model: "Density"
    device: "torch.device"
    run: "RunSettings | None"
    folder: Path
    address: str | None = None  # of a model that was fetched from the Hub
    at_rest: ExitStack = field(default_factory=ExitStack, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Freeze the model for as long as it is open: no command changes what it has opened."""
        from glowkit.core import frozen

        self.at_rest.enter_context(frozen(self.model))

    @property
    def name(self) -> str:
        """What the model was opened by: its folder, or its address on the Hub."""
        return self.address or str(self.folder)

    @property
    def title(self) -> str:
        """The last part of that."""
        return self.address.rpartition("/")[2] if self.address else self.folder.resolve().name

    def within(self, *parts: str, instead: str = "name a file with --out") -> Path:
        """A path in RUN that a command is to write.

        Raises GlowkitError, before any work is done, for a model that was fetched: it lies in a
        cache, which other programs share.
        """
        if self.address is not None:
            raise GlowkitError(f"nothing is written into {self.address}, on the Hub: {instead}")
        return self.folder.joinpath(*parts)

    def generator(self, seed: int) -> "torch.Generator":
        """A source of randomness where the model is."""
        import torch

        return torch.Generator(self.device).manual_seed(seed)

    @cached_property
    def objective(self) -> "Objective":
        """What is asked of the model, which is of images, of points or of a table."""
        from glowkit.training.objective import POINTS, TABLES, objective_of

        if self.run is None or self.model.levels is not None:
            return objective_of(self.model)
        return TABLES if self.run.columns else POINTS

    @cached_property
    def own_data(self) -> "AnySource":
        """The data that the run was trained on, opened once."""
        from glowkit.data import open_source

        if self.run is None:
            raise GlowkitError(f"{self.name} is a model without a run; name the DATA to use")
        return open_source(**self.run.data, levels=self.model.levels, only=self.run.only)

    @property
    def pixel_levels(self) -> int:
        """Of a model of images."""
        from glowkit.tasks.likelihood import levels_of

        return levels_of(self.model)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of a model of images, (C, H, W)."""
        shape = self.model.shape or ()
        if len(shape) != 3:
            raise GlowkitError(
                f"the model in {self.name} does not say the shape of its images; give its density"
                " an attribute shape, (channels, height, width)"
            )
        return shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """A name for each class: those of the training data, or numbers where no run says any."""
        classes = self.model.classes
        known = self.run.class_names if self.run else ()
        return known if len(known) == classes else tuple(map(str, range(classes)))

    def class_number(self, word: str) -> int:
        """The number of a class, given by its name or, where no class is named so, by its number.

        Raises:
            GlowkitError: when there is none.
        """
        names, classes = self.class_names, self.model.classes
        if not classes:
            raise GlowkitError("this model has no classes; leave out --class")
        if word in names:
            return names.index(word)
        if word.isdecimal() and int(word) < classes:
            return int(word)
        named = f" ({', '.join(names[:MOST_NAMED])}{', ...' * (classes > MOST_NAMED)})"
        raise GlowkitError(
            f"class {word} does not exist; this model has classes 0 to {classes - 1}{named}"
        )


def open_model(run: Path, device: str = "auto") -> Opened:
    """Load the best model of a run folder, a model folder, or a model of the Hub.

    Raises GlowkitError where there is none, and for all that `load` refuses.
    """
    from glowkit.models import load
    from glowkit.models.hub import address_of, local
    from glowkit.training import read_run

    address = address_of(run)
    if address is not None and (is_quiet() or not sys.stderr.isatty()):
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    folder = local(run)
    if not folder.exists():
        raise GlowkitError(f"no such run or model folder: {run}")
    place = _device(device)
    settings = None if (folder / "config.json").exists() else read_run(folder)
    return Opened(
        load(folder).to(place), place, settings, folder, str(address) if address else None
    )


def open_image_model(run: Path, device: str = "auto") -> Opened:
    """`open_model`, for a command that is about images."""
    opened = open_model(run, device)
    if opened.objective.things != "images":
        things = opened.objective.things
        raise GlowkitError(
            f"{run} is a model of {things}, and this command is for images; glowkit evaluate and"
            f" glowkit sample take {things}"
        )
    return opened


def open_data(opened: Opened, spec: str | None, skip_bad: bool = False) -> "AnySource":
    """Open DATA as the model needs it, or the data its run was trained on."""
    from glowkit.data import open_source

    if spec is None:
        return opened.own_data
    drawn = spec.startswith(("hf:", "emoji:")) or spec == "emoji"
    files = drawn or os.path.isdir(os.path.expanduser(spec))
    fit: dict[str, Any] = {}
    if files and len(opened.model.shape or ()) == 3:
        channels, height, width = opened.image_shape
        fit = {"size": height, "channels": channels} if height == width else {}
    if opened.run is not None and opened.run.only:
        fit = {"only": opened.run.only}
    found = open_source(spec, skip_bad=skip_bad, levels=opened.model.levels, **fit)
    if found.things == opened.objective.things:
        opened.objective.prepare(found, opened.model)  # what it refuses goes before all notes
        for note in found.notes:
            warn(f"note: {note}")
    return found


def open_images(opened: Opened, spec: str | None) -> "Source":
    """`open_data`, for a command that is about images."""
    from glowkit.data import Source

    data = open_data(opened, spec)
    if not isinstance(data, Source):
        raise GlowkitError(
            f"{data.name} are {data.things}, and this command is for images; name others"
        )
    return data


def check_dtype(name: str) -> None:
    """Refuse the name of a dtype that models are not computed in."""
    if name not in DTYPES:
        raise GlowkitError(f"dtype {name!r} does not exist; choose one of {', '.join(DTYPES)}")


def check_run_out(out: Path | None) -> None:
    """Refuse an address on the Hub for the folder of a new run."""
    from glowkit.models.hub import PREFIX

    if str(out).startswith(PREFIX):
        raise GlowkitError(f"{out} is on the Hub, and a run is a folder: train, then glowkit push")


def check_page(out: Path) -> None:
    """Refuse a name that browsers do not take for a page's."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise GlowkitError(
            f"this command writes a page; give --out a name in .html, not {out.name}"
        )


def _device(name: str) -> "torch.device":
    import torch

    from glowkit.nets.fast import multiply_exactly

    multiply_exactly()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise GlowkitError(f"device {name!r} cannot be used here; try --device cpu") from error


HATCHED = "they are hatched in the picture"


def say_broken(
    broken: "Iterable[torch.Tensor]", remedy: str = "", shown: str = HATCHED, things: str = "images"
) -> dict[str, int]:
    """Tell the user how many images could not be computed, and return it for --json.

    broken: masks of any shape. remedy: what may help, by default what does for samples. shown: what
    stands in their place.
    """
    masks = list(broken)
    number, total = sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)
    say_number(number, total, remedy, shown, things)
    return {f"broken_{things}": number}


def say_unknown(number: int, total: int, things: str = "images") -> None:
    """Tell the user how many of the things have no finite likelihood, if any."""
    if number:
        sentence = f"{number} of {total} {things} have a log p that is not finite"
        warn(f"note: {sentence}, so that the mean is not either: train the model longer")


def say_number(number: int, total: int, remedy: str, shown: str, things: str = "images") -> None:
    """Tell the user how many of the things could not be computed, if any."""
    from glowkit.core.finite import LESS_HEAT, broken_sentence

    if sentence := broken_sentence(number, total, things, remedy or LESS_HEAT):
        warn(f"note: {sentence}; {shown}")


def bar(steps: Sequence[T], description: str) -> Iterator[T]:
    """The steps, with a progress bar on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hidden = is_quiet() or not console.is_terminal
    yield from track(steps, description, console=console, transient=True, disable=hidden)


def show_json(figures: Mapping[str, Any]) -> None:
    """Print one JSON object, as docs/json.md says of each command.

    JSON has no NaN and no infinity: such a number is null, and `not_finite` says under its name
    which of them it was.
    """
    lost: dict[str, str] = {}
    plain = _plain(figures, "", lost)
    print(json.dumps(plain | ({"not_finite": lost} if lost else {}), allow_nan=False), flush=True)


def refuse_given(because: str, **options: object) -> None:
    """Refuse options that would change nothing; None and False are those that were not given."""
    given = [name for name, value in options.items() if value not in (None, False)]
    if given:
        named = ", ".join("--" + name.strip("_").replace("_", "-") for name in given)
        raise GlowkitError(f"{because}: leave out {named}")


def _plain(value: Any, name: str, lost: dict[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each, f"{name}.{key}".strip("."), lost) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, f"{name}.{place}", lost) for place, each in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        lost[name] = "NaN" if math.isnan(value) else "infinity" if value > 0 else "-infinity"
        return None
    return value


def split_batches(
    opened: Opened,
    data: "AnySource",
    split: str,
    batch_size: int,
    until: float = math.inf,
) -> "Iterator[tuple[Tensor, Tensor | None]]":
    """The examples of a split, ready for the model, with a progress bar on stderr.

    until: the time of `time.monotonic` after which there is no further batch, but for the first;
    where there is one, the examples are in an order whose beginning is spread over the split.
    """
    from glowkit.training.allowance import spread

    examples = split_of(data, split)
    whole = len(examples)
    every = range(whole) if math.isinf(until) else spread(whole, whole)
    for start in bar(range(0, whole, batch_size), f"{split} split"):
        if start and time.monotonic() >= until:
            return
        yield prepared(opened, data, examples, every[start : start + batch_size])


def split_of(data: "AnySource", split: str) -> "Split":
    """One split of the data; GlowkitError names those there are."""
    if split not in data.splits:
        raise GlowkitError(f"there is no split {split!r}; choose one of {', '.join(data.splits)}")
    return data.splits[split]


def prepared(
    opened: Opened, data: "AnySource", examples: "Split", rows: Sequence[int]
) -> "tuple[Tensor, Tensor | None]":
    """These rows of a split, ready for the model: examples and context."""
    prepare = opened.objective.prepare(data, opened.model)
    batch, context = prepare(examples.__getitems__(list(rows)))
    return batch.to(opened.device), None if context is None else context.to(opened.device)
