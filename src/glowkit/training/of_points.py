"""Training on points in the plane: nats, exact, beside those of a density that is known."""

from __future__ import annotations  # PIL's types are named without importing it

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from glowkit.core.density import Density
from glowkit.core.finite import broken_sentence
from glowkit.core.noise import Generator
from glowkit.data.source import Source
from glowkit.data.table import AnySource, TableSource
from glowkit.data.toy import PointSource, PointSplit
from glowkit.pictures.plots import density_panel, plane_image, save_gif
from glowkit.system.errors import GlowkitError
from glowkit.tasks import points
from glowkit.tasks.latent import sampled
from glowkit.training.allowance import number_of
from glowkit.training.batches import SAMPLE_NOISE, Batch, Preparation, mixed_seed, take_points
from glowkit.training.run import RunFolder
from glowkit.training.subject import (
    Objective,
    drawn_text,
    exactness,
    not_in_the_plane,
    samples_text,
    sign,
    steps_text,
    told,
)

if TYPE_CHECKING:
    from PIL.Image import Image

_POINTS = 5000
_MOST_FRAMES = 60


class Points(Objective):
    """Points in the plane: nats, exact, beside those of the density that they come from."""

    things, unit, figure = "points", "nats", "nll_nats"
    report = "points.html.jinja"
    batch_size = 4096

    def prepare(self, source: AnySource, model: Density) -> Preparation:
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
        if isinstance(source, TableSource):
            raise GlowkitError(
                f"{source.name} is a table, and this run is of points in the plane; train another"
                " on the table"
            )
        if shape is not None and tuple(shape) != (2,):
            raise not_in_the_plane(source.name)
        return take_points

    @torch.no_grad()
    def draw(
        self, model: Density, device: torch.device, shown: PointSplit, prepare: Preparation
    ) -> tuple[Image, str]:
        """Data, samples and the density, in a square that holds the points shown."""
        generator = torch.Generator(device).manual_seed(mixed_seed(SAMPLE_NOISE))
        samples, broken = sampled(model, _POINTS, 1.0, None, generator)
        half_side = 1.1 * float(shown.points.abs().max())
        panels = [("data", shown.points[:_POINTS]), ("samples", samples), density_panel(model)]
        picture = plane_image(panels, half_side)
        return picture, broken_sentence(int(broken.sum()), _POINTS, self.things)

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
        assert isinstance(source, PointSource)
        known = source.density

        def log_p(examples: Tensor) -> Tensor:
            return torch.from_numpy(known.log_prob(examples.double().cpu().numpy()))

        return told(
            points.evaluate_points(
                model, batches, known.entropy(), log_p, importance_samples, generator, draws
            )
        )

    def text(self, figures: Mapping[str, Any]) -> dict[str, str]:
        error, lost = f"± {figures['standard_error']:.4f}", figures["broken_points"]
        before = sign(figures)
        paired = f"{figures['paired_kl_nats']:.4f} ± {figures['paired_standard_error']:.4f}"
        broken = f"; {lost} points could not be" if lost else ""
        return {
            "NLL": f"{before} {figures['nll_nats']:.4f} {error} nats (mean and standard error;"
            f" {exactness(figures)})",
            **steps_text(figures),
            **samples_text(figures),
            "entropy": f"= {figures['entropy_nats']:.4f} nats, of the density itself",
            "KL": f"{before} {figures['kl_nats']:.4f} {error} nats (NLL less the entropy)",
            "KL, paired": f"{before} {paired} nats (mean of ln p/q)",
            "points": number_of(figures, self.things),
            "largest error": f"{figures['largest_error']:.1e}, of decode(encode(x)){broken}",
        }

    def headline(self, figures: Mapping[str, Any], baselines: Mapping[str, float]) -> str:
        error = figures["paired_standard_error"]  # the smaller one
        kl = self._figure(figures, figures["paired_kl_nats"], error)
        return f"KL {kl} from the true density"

    def basis(self, figures: Mapping[str, Any]) -> str:
        return f"{number_of(figures, self.things)} points{drawn_text(figures)}"

    def finish(self, folder: RunFolder) -> None:
        """Join the pictures of all evaluations, or evenly chosen ones, to samples/training.gif."""
        frames = folder.all_samples()[::-1]
        if frames:
            save_gif(frames[:: -(-len(frames) // _MOST_FRAMES)][::-1], folder.animation)
