"""What training is about, images or points: its loss, its figure, its pictures and its words."""

from __future__ import annotations  # PIL's types are named without importing it

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from glowkit.core.density import Density, Generator
from glowkit.core.finite import broken_sentence
from glowkit.data.levels import check_spread
from glowkit.data.source import Source
from glowkit.data.toy import PointSource, PointSplit
from glowkit.models.families import Config, outline
from glowkit.pictures.plots import density_panel, plane_image, save_gif
from glowkit.pictures.sheet import image_sheet
from glowkit.system.errors import GlowkitError
from glowkit.tasks import evaluation, likelihood, points
from glowkit.tasks.baselines import FEW_DIMENSIONS, gaussian_baselines
from glowkit.tasks.latent import classes_in_turn, decoded, sampled
from glowkit.training.allowance import number_of, some_again
from glowkit.training.batches import (
    SAMPLE_NOISE,
    Batch,
    Preparation,
    Prepare,
    mixed_seed,
    take_points,
)
from glowkit.training.run import RunFolder

if TYPE_CHECKING:
    from PIL.Image import Image


_TEMPERATURES = (0.5, 0.7, 1.0)
_COLUMNS = 8
_POINTS = 5000
_MOST_FRAMES = 60

Batches = Callable[[str], Iterable[Batch]]
"""The batches of a split, by its name."""


class Objective(ABC):
    """What is asked of a density, by what its examples are: `objective_of` says which it is.

    things: what the examples are. unit: of the figure, which is the lower the better. figure: its
    name in files. report: the template of report.html. batch_size: examples at a time where they
    are only evaluated.
    """

    things: ClassVar[str]
    unit: ClassVar[str]
    figure: ClassVar[str]
    report: ClassVar[str]
    batch_size: ClassVar[int]

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
    def prepare(self, source: Source | PointSource, model: Density) -> Preparation:
        """How a source's batches become a model's. Raises GlowkitError where they cannot."""

    def loss(
        self, model: Density, x: Tensor, context: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Of a batch: what training minimises, and the figure alone, two scalars."""
        mean = self.each(model, x, context, generator).mean()
        return mean, mean

    @abstractmethod
    def each(
        self, model: Density, x: Tensor, context: Tensor | None, generator: Generator
    ) -> Tensor:
        """The figure of every example, (N,)."""

    @abstractmethod
    def draw(self, model: Density, device: torch.device, shown: Any) -> tuple[Image, str]:
        """A picture of samples, beside a split where that helps; a sentence if some are broken.

        The same noise always, so that pictures compare.
        """

    @abstractmethod
    def evaluate(
        self,
        model: Density,
        source: Source | PointSource,
        batches: Iterable[Batch],
        importance_samples: int,
        generator: Generator,
        round_trips: Iterable[Batch] | None = None,
    ) -> dict[str, Any]:
        """All figures of the batches, of the source, by name; images may decode only some again."""

    @abstractmethod
    def text(self, figures: Mapping[str, Any]) -> dict[str, str]:
        """Those figures as a person reads them."""

    @abstractmethod
    def basis(self, figures: Mapping[str, Any]) -> str:
        """What those figures rest on: how many examples, and what else they depend on."""

    def baselines(
        self, model: Density, source: Any, batches: Batches, split: str, seed: int, asked: bool
    ) -> dict[str, float]:
        """The figure of simple models of the same data, by their names, for a split."""
        if asked:
            raise GlowkitError("the baselines are for images: leave out --baselines")
        return {}

    def batch_after(self, training: int) -> int:
        """Examples at a time in the evaluation after training on batches of so many."""
        return self.batch_size

    def finish(self, folder: RunFolder) -> None:
        """Done when training ends or is interrupted; by default nothing."""
        return


class Images(Objective):
    """Whole numbers, such as pixels: bits/dim, with the noise of their dequantization."""

    things, unit, figure = "images", "bits/dim", "bits_per_dim"
    report = "report.html.jinja"
    batch_size = 100

    def prepare(self, source: Source | PointSource, model: Density) -> Preparation:
        if isinstance(source, PointSource):
            raise _not_in_the_plane(source)
        wanted, have = model.shape, tuple(source.image_shape)
        if wanted is not None and tuple(wanted) != have:
            raise GlowkitError(
                f"the model takes images of shape {_by(wanted)} (channels x height x width), but"
                f" those of {source.name} are {_by(have)}; set the model's image_shape, or --size,"
                " to match"
            )
        levels = likelihood.levels_of(model)
        if source.pixel_levels > levels:
            check_spread(source, levels)
        return Prepare(source.pixel_levels, levels, model.classes)

    def loss(
        self, model: Density, x: Tensor, context: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        return likelihood.training_loss(model, x, context, generator)

    def each(
        self, model: Density, x: Tensor, context: Tensor | None, generator: Generator
    ) -> Tensor:
        return likelihood.bits_per_dim(model, x, context, generator)

    @torch.no_grad()
    def draw(self, model: Density, device: torch.device, shown: Any) -> tuple[Image, str]:
        """A row of samples at each temperature; a conditional model draws its classes in turn."""
        context = classes_in_turn(model, _COLUMNS)
        context = None if context is None else context.repeat(len(_TEMPERATURES))
        seed, fresh = mixed_seed(SAMPLE_NOISE), torch.Generator(device)
        every = [model.draw_noises(_COLUMNS, t, fresh.manual_seed(seed)) for t in _TEMPERATURES]
        # Decoded at once, which takes half as long as row by row.
        images, lost = decoded(model, [torch.cat(row) for row in zip(*every, strict=True)], context)
        names = [f"temperature {temperature:g}" for temperature in _TEMPERATURES]
        rows = list(zip(names, images.cpu().split(_COLUMNS), strict=True))
        sheet = image_sheet(rows, likelihood.levels_of(model), broken=lost.cpu().split(_COLUMNS))
        return sheet, broken_sentence(int(lost.sum()), len(lost), self.things)

    def evaluate(
        self,
        model: Density,
        source: Source | PointSource,
        batches: Iterable[Batch],
        importance_samples: int,
        generator: Generator,
        round_trips: Iterable[Batch] | None = None,
    ) -> dict[str, Any]:
        return asdict(
            evaluation.evaluate(model, batches, importance_samples, generator, round_trips)
        )

    def batch_after(self, training: int) -> int:
        return training  # what fitted into memory does so again

    def text(self, figures: Mapping[str, Any]) -> dict[str, str]:
        bound = figures["importance_samples"]
        error = evaluation.error_text(figures["largest_pixel_error"], figures["levels"])
        part = some_again(figures)
        text = {
            "bits/dim": f"{figures['bits_per_dim']:.4f} ± {figures['standard_error']:.4f}"
            " (mean and standard error; an upper bound)",
            "importance samples": f"{bound}" + (" (one-sample bound)" if bound == 1 else ""),
            "images": number_of(figures, self.things),
            "pixel levels": str(figures["levels"]),
            "largest pixel error": f"{error}, of decode(encode(x)){part}",
        }
        if figures["broken_images"]:
            broken = f"{figures['broken_images']}, of which decode(encode(x)) overflows"
            text["broken images"] = broken
        return text

    def basis(self, figures: Mapping[str, Any]) -> str:
        draws = figures["importance_samples"]
        return (
            f"{number_of(figures, self.things)} images, {figures['levels']} levels, {draws}"
            " importance sample(s)"
        )

    def baselines(
        self, model: Density, source: Any, batches: Batches, split: str, seed: int, asked: bool
    ) -> dict[str, float]:
        """Bits/dim of a Gaussian and of a mixture of Gaussians, fitted to the training images.

        None are fitted to images that are large, unless `asked`, nor to a handful of images.
        """
        if isinstance(source, PointSource):
            return super().baselines(model, source, batches, split, seed, asked)
        large = math.prod(source.image_shape) > FEW_DIMENSIONS
        if (large or len(source.splits["train"]) < 10) and not asked:
            return {}
        train, others = (
            torch.cat([batch.cpu() for batch, _ in batches(name)]) for name in ("train", split)
        )
        return gaussian_baselines(train, others, likelihood.levels_of(model), seed)


class Points(Objective):
    """Points in the plane: nats, exact, beside those of the density that they come from."""

    things, unit, figure = "points", "nats", "nll_nats"
    report = "points.html.jinja"
    batch_size = 4096

    def prepare(self, source: Source | PointSource, model: Density) -> Preparation:
        shape = model.shape
        if isinstance(source, Source):
            if shape is not None and len(shape) > 1:
                raise GlowkitError(
                    f"{source.name} are images, whole numbers, and this density is of continuous"
                    f" values: give it to glowkit.Dequantize, with levels={source.pixel_levels}"
                )
            raise GlowkitError(
                f"{source.name} are images, but the model takes points; use another preset, or"
                " data such as points:8gaussians"
            )
        if shape is not None and tuple(shape) != (2,):
            raise _not_in_the_plane(source)
        return take_points

    def each(
        self, model: Density, x: Tensor, context: Tensor | None, generator: Generator
    ) -> Tensor:
        return points.nll(model, x, context)

    @torch.no_grad()
    def draw(self, model: Density, device: torch.device, shown: PointSplit) -> tuple[Image, str]:
        """Samples beside the density, in a square that holds the points shown."""
        generator = torch.Generator(device).manual_seed(mixed_seed(SAMPLE_NOISE))
        samples, broken = sampled(model, _POINTS, 1.0, None, generator)
        half_side = 1.1 * float(shown.points.abs().max())
        picture = plane_image([("samples", samples), density_panel(model)], half_side)
        return picture, broken_sentence(int(broken.sum()), _POINTS, self.things)

    def evaluate(
        self,
        model: Density,
        source: Source | PointSource,
        batches: Iterable[Batch],
        importance_samples: int,
        generator: Generator,
        round_trips: Iterable[Batch] | None = None,
    ) -> dict[str, Any]:
        if importance_samples != 1:
            raise GlowkitError("points are not dequantized: leave out --importance")
        self.prepare(source, model)
        assert isinstance(source, PointSource)
        known = source.density

        def log_p(examples: Tensor) -> Tensor:
            return torch.from_numpy(known.log_prob(examples.double().cpu().numpy()))

        return asdict(points.evaluate_points(model, batches, known.entropy(), log_p))

    def text(self, figures: Mapping[str, Any]) -> dict[str, str]:
        error, lost = f"± {figures['standard_error']:.4f}", figures["broken_points"]
        paired = f"{figures['paired_kl_nats']:.4f} ± {figures['paired_standard_error']:.4f}"
        broken = f"; {lost} points could not be" if lost else ""
        return {
            "NLL": f"{figures['nll_nats']:.4f} {error} nats (mean and standard error; exact)",
            "entropy": f"{figures['entropy_nats']:.4f} nats, of the density itself",
            "KL": f"{figures['kl_nats']:.4f} {error} nats (NLL less the entropy)",
            "KL, paired": f"{paired} nats (mean of ln p/q)",
            "points": number_of(figures, self.things),
            "largest error": f"{figures['largest_error']:.1e}, of decode(encode(x)){broken}",
        }

    def basis(self, figures: Mapping[str, Any]) -> str:
        return f"{number_of(figures, self.things)} points"

    def finish(self, folder: RunFolder) -> None:
        """Join the pictures of all evaluations, or evenly chosen ones, to samples/training.gif."""
        frames = folder.all_samples()[::-1]
        if frames:
            save_gif(frames[:: -(-len(frames) // _MOST_FRAMES)][::-1], folder.animation)


IMAGES, POINTS = Images(), Points()


def objective_of(model: Density) -> Objective:
    """Images for a density of whole numbers, points for one of continuous values."""
    return POINTS if getattr(model, "levels", None) is None else IMAGES


def preparation(source: Source | PointSource, model: Density | Config) -> Preparation:
    """How a source's batches become a model's, given the model or its config.

    Raises GlowkitError for images of another shape than the model's, or all of one value at its
    levels, for points and a model of images, and for images and a model of points.
    """
    model = model if isinstance(model, Density) else outline(model)
    return objective_of(model).prepare(source, model)


def _not_in_the_plane(source: PointSource) -> GlowkitError:
    return GlowkitError(
        f"{source.name} are points in the plane, which this model does not take; use a preset"
        " whose name ends in -points, with 2 dimensions"
    )


def _by(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))
