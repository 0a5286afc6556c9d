"""What training asks of a density, whatever its examples are: a loss, a figure, pictures, words."""

from __future__ import annotations  # PIL's types are named without importing it

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from glowkit.core.density import Density
from glowkit.core.noise import Generator
from glowkit.data.table import AnySource
from glowkit.densities import matching_loss
from glowkit.system.errors import GlowkitError
from glowkit.tasks.likelihood import IN_WORDS, SIGNS, sign_of
from glowkit.tasks.points import nll
from glowkit.training.batches import Batch, Preparation
from glowkit.training.run import RunFolder

if TYPE_CHECKING:
    from PIL.Image import Image

    from glowkit.core.density import LogPKind

Batches = Callable[[str], Iterable[Batch]]
"""The batches of a split, by its name."""


class Objective(ABC):
    """What is asked of a density, by what its examples are: `objective_of` says which it is.

    things: what the examples are. unit: of the figure, which is the lower the better. figure: its
    name in files. report: the template of report.html. batch_size: examples at a time where they
    are only evaluated. plotted: whether the pictures of `draw` are plots on white paper.
    """

    things: ClassVar[str]
    unit: ClassVar[str]
    figure: ClassVar[str]
    report: ClassVar[str]
    batch_size: ClassVar[int]
    plotted: ClassVar[bool] = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Of metrics.csv."""
        return (
            "step",
            "epoch",
            "elapsed_seconds",
            f"train_{self.figure}",
            f"validation_{self.figure}",
            "learning_rate",
            "gradient_norm",
            f"{self.things}_per_second",
            "skipped_steps",
        )

    @abstractmethod
    def prepare(self, source: AnySource, model: Density) -> Preparation:
        """How a source's batches become a model's. Raises GlowkitError where they cannot."""

    def loss(
        self, model: Density, x: Tensor, context: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Of a batch: what training minimises, and the figure alone, two scalars.

        Flow matching minimises no likelihood, and none is integrated for its sake: NaN.
        """
        matching = matching_loss(model, x, context, generator)
        if matching is not None:
            return matching.mean(), matching.new_tensor(math.nan)
        mean = self.each(model, x, context, generator).mean()
        return mean, mean

    def each(
        self, model: Density, x: Tensor, context: Tensor | None, generator: Generator
    ) -> Tensor:
        """The figure of every example, (N,); by default in nats."""
        return nll(model, x, context, generator)

    def sign(self, model: Density) -> str:
        """What stands before the figure of a model in training."""
        return sign_of(model)

    @abstractmethod
    def draw(
        self, model: Density, device: torch.device, shown: Any, prepare: Preparation
    ) -> tuple[Image, str]:
        """A picture of samples beside a split; a sentence if some are broken.

        The same noise always, so that pictures compare.
        """

    @abstractmethod
    def evaluate(
        self,
        model: Density,
        source: AnySource,
        batches: Iterable[Batch],
        importance_samples: int,
        generator: Generator,
        round_trips: Iterable[Batch] | None = None,
        draws: int = 1,
    ) -> dict[str, Any]:
        """All figures of the batches, of the source, by name; images may decode only some again."""

    @abstractmethod
    def text(self, figures: Mapping[str, Any]) -> dict[str, str]:
        """Those figures as a person reads them."""

    def headline(self, figures: Mapping[str, Any], baselines: Mapping[str, float]) -> str:
        """What a report says first: the figure, and how far it is from the best baseline."""
        said = self._figure(figures, figures[self.figure], figures["standard_error"])
        if not baselines:
            return said
        best = min(baselines.values())
        return f"{said}, {compared(figures[self.figure], best, 'the best baseline')}"

    def _figure(self, figures: Mapping[str, Any], value: float, error: float) -> str:
        spread = f" ± {error:.3f}" if math.isfinite(error) else ""
        return f"{sign(figures)} {value:.3f}{spread} {self.unit}"

    @abstractmethod
    def basis(self, figures: Mapping[str, Any]) -> str:
        """What those figures rest on: how many examples, and what else they depend on."""

    def baselines(
        self, model: Density, source: Any, batches: Batches, split: str, seed: int, asked: bool
    ) -> dict[str, float]:
        """The figure of simple models of the same data, by their names, for a split."""
        if asked:
            raise GlowkitError("the baselines are for images and tables: leave out --baselines")
        return {}

    def settle(self, model: Density, split: Any) -> None:
        """What a model takes from all of the training data, before layers see some."""
        return

    def batch_after(self, training: int) -> int:
        """Examples at a time in the evaluation after training on batches of so many."""
        return self.batch_size

    def finish(self, folder: RunFolder) -> None:
        """Done when training ends or is interrupted; by default nothing."""
        return


def told(evaluation: Any) -> dict[str, Any]:
    """The figures of an evaluation by their names, without those that it does not have."""
    return {name: value for name, value in asdict(evaluation).items() if value is not None}


def compared(value: float, other: float, name: str) -> str:
    """Where a figure stands, of which the lower is the better.

    >>> compared(2.3, 2.61, "the best baseline"), compared(2.3, 2.3, "it")
    ('0.31 below the best baseline', 'no different from it')
    """
    if not (math.isfinite(value) and math.isfinite(other)):
        return f"and {name} {other:.3f}"
    apart = f"{abs(value - other):.2f}"
    if float(apart) == 0:
        return f"no different from {name}"
    return f"{apart} {'below' if value < other else 'above'} {name}"


def kind_of(figures: Mapping[str, Any]) -> LogPKind:
    """Parts of reports of earlier versions do not say: of images bounds, and of others exact."""
    kind: LogPKind = figures.get("kind", "bound" if "bits_per_dim" in figures else "exact")
    return kind


def sign(figures: Mapping[str, Any]) -> str:
    """What stands before a likelihood: ≈ where it is integrated, else as its kind says."""
    return "≈" if "nll_nats_at_twice_the_steps" in figures else SIGNS[kind_of(figures)]


def exactness(figures: Mapping[str, Any]) -> str:
    """What a likelihood is, in a word or two."""
    kind = kind_of(figures)
    if "nll_nats_at_twice_the_steps" not in figures:
        return IN_WORDS[kind]
    return "by integration" if kind == "exact" else f"{IN_WORDS[kind]}, by integration"


def steps_text(figures: Mapping[str, Any]) -> dict[str, str]:
    """How far an integrator's steps may be trusted, as a person reads it; of others, nothing."""
    finer = figures.get("nll_nats_at_twice_the_steps")
    if finer is None:
        return {}
    difference = "the difference is the error of the integration"
    return {"NLL, steps x 2": f"{sign(figures)} {finer:.4f} nats; {difference}"}


def by(shape: Iterable[int]) -> str:
    """A shape in words."""
    return "x".join(map(str, shape))


def samples_text(figures: Mapping[str, Any]) -> dict[str, str]:
    """What was drawn for figures that are no exact ones, as a person reads it."""
    if figures["kind"] == "estimate":
        return {"draws": f"{figures['draws']}, averaged; the standard error counts theirs too"}
    if figures["kind"] == "bound":
        number = figures["importance_samples"]
        return {"importance samples": f"{number}" + (" (one-sample bound)" if number == 1 else "")}
    return {}


def drawn_text(figures: Mapping[str, Any]) -> str:
    """The same, as the end of a list."""
    kind = kind_of(figures)
    if kind == "estimate":
        return f", {figures['draws']} draw(s)"
    return f", {figures['importance_samples']} importance sample(s)" if kind == "bound" else ""


def not_in_the_plane(name: str) -> GlowkitError:
    """Of a model that takes no points."""
    return GlowkitError(
        f"{name} are points in the plane, which this model does not take; use a preset"
        " whose name ends in -points, with 2 dimensions"
    )
