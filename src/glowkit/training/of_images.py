"""Training on images: bits/dim of whole numbers, sheets of samples, baselines."""

from __future__ import annotations  # PIL's types are named without importing it

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from glowkit.core.density import Density
from glowkit.core.finite import broken_sentence
from glowkit.core.noise import Generator
from glowkit.data.levels import check_spread
from glowkit.data.source import Source
from glowkit.data.table import AnySource, TableSource
from glowkit.data.toy import PointSource
from glowkit.pictures.sheet import image_sheet
from glowkit.system.errors import GlowkitError
from glowkit.tasks import evaluation, latent, likelihood
from glowkit.tasks.baselines import FEW_DIMENSIONS, gaussian_baselines
from glowkit.tasks.latent import classes_in_turn
from glowkit.training.allowance import number_of, some_again
from glowkit.training.batches import SAMPLE_NOISE, Batch, Preparation, Prepare, mixed_seed
from glowkit.training.subject import (
    Batches,
    Objective,
    by,
    compared,
    drawn_text,
    not_in_the_plane,
    samples_text,
)

if TYPE_CHECKING:
    from PIL.Image import Image

_TEMPERATURES = (0.5, 0.7, 1.0)
_COLUMNS = 8


class Images(Objective):
    """Whole numbers, such as pixels: bits/dim, with the noise of their dequantization."""

    things, unit, figure = "images", "bits/dim", "bits_per_dim"
    report = "report.html.jinja"
    batch_size = 100

    def prepare(self, source: AnySource, model: Density) -> Preparation:
        if isinstance(source, PointSource):
            raise not_in_the_plane(source.name)
        if isinstance(source, TableSource):
            raise GlowkitError(
                f"{source.name} is a table, whose rows this model of images does not take; use a"
                " preset whose name ends in -points, such as nsf-points"
            )
        wanted, have = model.shape, tuple(source.image_shape)
        if wanted is not None and tuple(wanted) != have:
            raise GlowkitError(
                f"the model takes images of shape {by(wanted)} (channels x height x width), but"
                f" those of {source.name} are {by(have)}; set the model's image_shape, or --size,"
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
    def draw(
        self, model: Density, device: torch.device, shown: Any, prepare: Preparation
    ) -> tuple[Image, str]:
        """A row of data above one of samples at each temperature, with bits/dim of every image.

        A conditional model draws its classes in turn.
        """
        data, given = prepare(shown.__getitems__(list(range(min(_COLUMNS, len(shown))))))
        data, given = data.to(device), None if given is None else given.to(device)
        context = classes_in_turn(model, _COLUMNS)
        context = None if context is None else context.repeat(len(_TEMPERATURES))
        seed, fresh = mixed_seed(SAMPLE_NOISE), torch.Generator(device)
        every = [model.draw_noises(_COLUMNS, t, fresh.manual_seed(seed)) for t in _TEMPERATURES]
        # Decoded at once, which takes half as long as row by row.
        noises = [torch.cat(row) for row in zip(*every, strict=True)]
        images, lost = latent.shown(model, noises, context)
        names = [f"temperature {temperature:g}" for temperature in _TEMPERATURES]
        rows = [("data", data.cpu()), *zip(names, images.cpu().split(_COLUMNS), strict=True)]
        bits = torch.cat(
            [
                self.each(model, data, given, fresh.manual_seed(seed)),
                self.each(model, images, context, fresh),
            ]
        )
        sizes = [len(data), *[_COLUMNS] * len(_TEMPERATURES)]
        numbers = [[f"{one:.2f}" for one in row.tolist()] for row in bits.split(sizes)]
        broken = [torch.zeros(len(data), dtype=torch.bool), *lost.cpu().split(_COLUMNS)]
        sheet = image_sheet(rows, likelihood.levels_of(model), broken=broken, numbers=numbers)
        return sheet, broken_sentence(int(lost.sum()), len(lost), self.things)

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
        return asdict(
            evaluation.evaluate(model, batches, importance_samples, generator, round_trips, draws)
        )

    def batch_after(self, training: int) -> int:
        return training  # what fitted into memory does so again

    def text(self, figures: Mapping[str, Any]) -> dict[str, str]:
        error = evaluation.error_text(figures["largest_pixel_error"], figures["levels"])
        part = some_again(figures)
        text = {
            **self.likelihood_text(figures),
            **samples_text(figures),
            "images": number_of(figures, self.things),
            "pixel levels": str(figures["levels"]),
            "largest pixel error": f"{error}, of decode(encode(x)){part}",
        }
        if figures["broken_images"]:
            broken = f"{figures['broken_images']}, of which decode(encode(x)) overflows"
            text["broken images"] = broken
        return text

    def likelihood_text(self, figures: Mapping[str, Any]) -> dict[str, str]:
        """The figure itself, as a person reads it."""
        kind = figures["kind"]
        return {
            "bits/dim": f"{likelihood.SIGNS[kind]} {figures['bits_per_dim']:.4f}"
            f" ± {figures['standard_error']:.4f}"
            f" (mean and standard error; {likelihood.IN_WORDS[kind]})"
        }

    def headline(self, figures: Mapping[str, Any], baselines: Mapping[str, float]) -> str:
        said = super().headline(figures, baselines)
        if baselines:
            return said
        none = math.log2(figures["levels"])
        return f"{said}, {compared(figures['bits_per_dim'], none, 'no model at all')}"

    def basis(self, figures: Mapping[str, Any]) -> str:
        drawn = drawn_text(figures)
        return f"{number_of(figures, self.things)} images, {figures['levels']} levels{drawn}"

    def baselines(
        self, model: Density, source: Any, batches: Batches, split: str, seed: int, asked: bool
    ) -> dict[str, float]:
        """Bits/dim of a Gaussian and of a mixture of Gaussians, fitted to the training images.

        None are fitted to images that are large, unless `asked`, nor to a handful of images.
        """
        if not isinstance(source, Source):
            return super().baselines(model, source, batches, split, seed, asked)
        large = math.prod(source.image_shape) > FEW_DIMENSIONS
        if (large or len(source.splits["train"]) < 10) and not asked:
            return {}
        train, others = (
            torch.cat([batch.cpu() for batch, _ in batches(name)]) for name in ("train", split)
        )
        return gaussian_baselines(train, others, likelihood.levels_of(model), seed)
