"""Training on images under normal noise: nats of noisy images, which are no bits/dim."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from glowkit.core.density import Density
from glowkit.core.noise import Generator
from glowkit.system.errors import GlowkitError
from glowkit.tasks.likelihood import SIGNS
from glowkit.tasks.points import nll
from glowkit.training.allowance import number_of
from glowkit.training.of_images import Images
from glowkit.training.subject import Batches, Objective, drawn_text


class NoisyImages(Images):
    """Images with noise of the model's own deviation: nats an image; samples without the noise."""

    unit, figure = "nats (noisy)", "noisy_nll_nats"
    report = "noisy.html.jinja"

    def loss(
        self, model: Density, x: Tensor, context: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        return Objective.loss(self, model, x, context, generator)

    def each(
        self, model: Density, x: Tensor, context: Tensor | None, generator: Generator
    ) -> Tensor:
        return nll(model, x, context, generator)

    def likelihood_text(self, figures: Mapping[str, Any]) -> dict[str, str]:
        return {
            "NLL, noisy": f"{SIGNS[figures['kind']]} {figures['noisy_nll_nats']:.4f}"
            f" ± {figures['standard_error']:.4f} nats an image with noise of deviation"
            f" {figures['noise_deviation']:g} (mean and standard error; no bits/dim)"
        }

    def headline(self, figures: Mapping[str, Any], baselines: Mapping[str, float]) -> str:
        return Objective.headline(self, figures, baselines)

    def basis(self, figures: Mapping[str, Any]) -> str:
        noise = f"noise of deviation {figures['noise_deviation']:g}"
        of = f"{number_of(figures, self.things)} images, {figures['levels']} levels"
        return f"{of}, {noise}{drawn_text(figures)}"

    def baselines(
        self, model: Density, source: Any, batches: Batches, split: str, seed: int, asked: bool
    ) -> dict[str, float]:
        if asked:
            raise GlowkitError(
                "the baselines are in bits/dim, which a density of noisy images has none of: leave"
                " out --baselines"
            )
        return {}
