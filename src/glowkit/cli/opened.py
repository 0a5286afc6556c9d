"""Models opened for a command, and the examples that they are asked about."""

import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glowkit.cli.common import bar
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

MOST_NAMED = 10  # classes in a sentence


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
