"""Training on rows of a table: nats, exact, in the columns' own units; pair plots; baselines."""

from __future__ import annotations  # PIL's types are named without importing it

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from glowkit.bijections import standardize
from glowkit.bijections.standardize import scale_of
from glowkit.core.density import Density
from glowkit.core.finite import broken_sentence
from glowkit.core.noise import Generator
from glowkit.data.table import AnySource, TableSource, TableSplit
from glowkit.pictures.pairs import MOST_DRAWN, pairs_image, with_context
from glowkit.system.errors import GlowkitError
from glowkit.tasks import tables
from glowkit.tasks.latent import sampled
from glowkit.training.allowance import number_of
from glowkit.training.batches import SAMPLE_NOISE, Batch, Preparation, mixed_seed, take_rows
from glowkit.training.subject import (
    Batches,
    Objective,
    drawn_text,
    exactness,
    samples_text,
    sign,
    steps_text,
    told,
)

if TYPE_CHECKING:
    from PIL.Image import Image

FEW_COLUMNS = 32  # up to which the baselines take seconds


class Tables(Objective):
    """Rows of numbers, given others or not: nats in the units of their columns."""

    things, unit, figure = "rows", "nats", "nll_nats"
    report = "tables.html.jinja"
    batch_size = 4096
    plotted = True

    def prepare(self, source: AnySource, model: Density) -> Preparation:
        if not isinstance(source, TableSource):
            raise GlowkitError(
                f"{source.name} are {source.things}, and this model is of rows of a table; name a"
                " table, or train another model"
            )
        size, given = len(source.columns), len(source.context_columns)
        if model.shape is not None and tuple(model.shape) != (size,):
            raise GlowkitError(
                f"the model takes {_numbers(model.shape)}, and a row of {source.name} has"
                f" {size}; set the model's dimensions to match, or use a preset whose name ends in"
                " -points"
            )
        if given and not model.reads_context:
            raise GlowkitError(
                f"{source.name} gives {given} number(s) as a context, which this model does not"
                " read; set its context_features, or leave out --target and --context"
            )
        return take_rows

    def settle(self, model: Density, split: TableSplit) -> None:
        standardize(model, split.rows, split.context)

    @torch.no_grad()
    def draw(
        self, model: Density, device: torch.device, shown: TableSplit, prepare: Preparation
    ) -> tuple[Image, str]:
        """Samples beside the rows shown, given the contexts of these where there are any."""
        generator = torch.Generator(device).manual_seed(mixed_seed(SAMPLE_NOISE))
        # An autoregressive flow takes a pass a column, and pictures are drawn while it trains.
        number = min(MOST_DRAWN, max(200, 20_000 // shown.rows.shape[1]))
        x, context = shown.__getitems__(slice(number))
        given = None if context is None else context.to(device)
        samples, broken = sampled(model, len(x), 1.0, given, generator)
        picture = pairs_image(shown.names, with_context(x, context), with_context(samples, given))
        return picture, broken_sentence(int(broken.sum()), len(x), self.things)

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
        self.prepare(source, model)
        assert isinstance(source, TableSource)
        scale = scale_of(model)
        if scale is None:
            scale = source.splits["train"].rows.std(0)
        return told(
            tables.evaluate_rows(model, batches, scale, importance_samples, generator, draws)
        )

    def text(self, figures: Mapping[str, Any]) -> dict[str, str]:
        lost, again = figures["broken_rows"], figures["round_trip_rows"]
        broken = f"; {lost} rows could not be" if lost else ""
        of = f" of {again:,} rows" if again < figures["rows"] else ""
        before = sign(figures)
        return {
            "NLL": f"{before} {figures['nll_nats']:.4f} ± {figures['standard_error']:.4f} nats"
            f" (mean and standard error; {exactness(figures)}, in the columns' own units)",
            "log-likelihood": f"{before.replace('≤', '≥')} {-figures['nll_nats']:.4f} nats",
            **steps_text(figures),
            **samples_text(figures),
            "rows": number_of(figures, self.things),
            "largest error": f"{figures['largest_error']:.1e} standard deviations, of"
            f" decode(encode(x)){of}{broken}",
        }

    def basis(self, figures: Mapping[str, Any]) -> str:
        return f"{number_of(figures, self.things)} rows{drawn_text(figures)}"

    def baselines(
        self, model: Density, source: Any, batches: Batches, split: str, seed: int, asked: bool
    ) -> dict[str, float]:
        """Nats of a Gaussian and of a mixture fitted to the training rows.

        None are fitted to many columns, unless `asked`, nor to a handful of rows.
        """
        if not isinstance(source, TableSource):
            return super().baselines(model, source, batches, split, seed, asked)
        wide = len(source.columns) + len(source.context_columns) > FEW_COLUMNS
        if (wide or len(source.splits["train"]) < 20) and not asked:
            return {}
        parts = []
        for name in ("train", split):
            every = [*batches(name)]
            context = [c for _, c in every if c is not None]
            parts.append(
                (torch.cat([x for x, _ in every]), torch.cat(context) if context else None)
            )
        return tables.row_baselines(parts[0], parts[1], seed)


def _numbers(shape: Iterable[int]) -> str:
    sizes = tuple(shape)
    return f"{sizes[0]} number(s)" if len(sizes) == 1 else f"examples of shape {sizes}"
