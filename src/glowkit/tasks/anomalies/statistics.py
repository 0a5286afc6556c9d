"""What anomaly scores are made of: figures of each example under a model, whatever its batch."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glowkit.core import MIDPOINT, Density, GlowkitError, NoiseSpec, frozen
from glowkit.core.noise import OfEach
from glowkit.densities import Dequantize, StandardLogistic, StandardNormal
from glowkit.tasks.likelihood import bits_per_dim, drawn_log_p

Progress = Callable[[Sequence[int], str], Iterable[int]]
"""Passes numbers on, one after another, and may show how far it is under a name."""


def silent(steps: Sequence[int], name: str) -> Iterable[int]:
    """Shows nothing."""
    return steps


@dataclass(frozen=True)
class Reading:
    """How examples are put through models.

    draws: of dequantization noise an image, whose probabilities are averaged. batch_size: at a
    time, which decides memory and not the figures. seed: of the noise. Noise belongs to an example
    and its number, so that several models get the same, and differences between them have none of
    its jitter.
    """

    draws: int = 8
    batch_size: int = 64
    seed: int = 0
    progress: Progress = silent

    def batches(self, model: Density, x: Tensor, name: str) -> Iterator[tuple[slice, Tensor]]:
        """The rows of each batch, and the batch where the model is."""
        for start in self.progress(range(0, len(x), self.batch_size), name):
            rows = slice(start, start + self.batch_size)
            yield rows, x[rows].to(model.anchor.device)

    def noise(self, count: int, stream: int) -> list[torch.Generator]:
        """A generator for each of so many examples; each stream has others."""
        seeds = np.random.SeedSequence([self.seed, stream]).generate_state(count, np.uint64)
        return [torch.Generator().manual_seed(int(seed >> np.uint64(1))) for seed in seeds]


@torch.no_grad()
def costs(model: Density, x: Tensor, reading: Reading, stream: int, name: str = "") -> Tensor:
    """−log p of each example, (N,) float64: in bits/dim of images, in nats of vectors.

    Of images, log of the mean over draws of dequantization noise, as `bits_per_dim` has it; an
    estimated log p is averaged over the draws, and an exact one needs none.
    """
    noise = reading.noise(len(x), stream)
    found = []
    samples = reading.draws if model.log_p_kind == "bound" else 1
    draws = reading.draws if model.log_p_kind == "estimate" else 1
    with frozen(model):
        for rows, batch in reading.batches(model, x, name or "likelihood"):
            own = OfEach(tuple(noise[rows]))
            if model.levels is None:
                each = -drawn_log_p(model, batch, None, own, samples, draws).mean(0)
            else:
                each = bits_per_dim(model, batch, None, own, samples, draws)
            found.append(each.double().cpu())
    return torch.cat(found)


def nats_per_cost(model: Density, x: Tensor) -> float:
    """How many nats an example's unit of `costs` is: D ln 2 where that is bits/dim."""
    return 1.0 if model.levels is None else math.prod(x.shape[1:]) * math.log(2)


def continuous(model: Density) -> Density | None:
    """The density whose gradient in x there is: a model's own, or the one that it dequantizes for.

    None for a density of integers that is made in another way.
    """
    if model.levels is None:
        return model
    return model.density if isinstance(model, Dequantize) else None


def gradient_norms(model: Density, x: Tensor, reading: Reading) -> Tensor:
    """ln ‖∂ log p / ∂v‖₂ of each example, (N,) float64, v = (x + ½) / levels of images.

    Source: Grathwohl et al. 2020, section 5.3 ("approximate mass"). Cost: a backward pass.

    Raises:
        GlowkitError: for a density of integers that has no continuous one, or a frozen model.
    """
    density = continuous(model)
    if density is None:
        raise GlowkitError(
            "gradients need a continuous density, and this model of integers is no Dequantize;"
            " leave out the scores gradient, dose and dose-svm"
        )
    found = []
    for _, batch in reading.batches(model, x, "gradient"):
        v = batch.to(model.anchor.dtype)
        if model.levels is not None:
            v = (v + 0.5) / model.levels
        with torch.enable_grad():
            v = v.detach().requires_grad_()
            (slope,) = torch.autograd.grad(density.log_prob(v).sum(), v)
        norm = slope.flatten(1).double().norm(dim=1)
        # ln 0 would look like something that could not be computed.
        found.append(norm.clamp_min(torch.finfo(torch.float64).tiny).log().cpu())
    return torch.cat(found)


_STANDARD = {"normal": StandardNormal, "logistic": StandardLogistic}
# Mean and variance of the square of one standard draw.
_SQUARE = {"normal": (1.0, 2.0), "logistic": (math.pi**2 / 3, 16 * math.pi**4 / 45)}


@torch.no_grad()
def latent_statistics(model: Density, x: Tensor, reading: Reading) -> Tensor:
    """Of each example, for each of S noises z: Σ z², ln Σ |z|; and ladj; (N, 2 S + 1) float64.

    Σ z² is less its mean under the model, in its standard deviations: (‖z‖² − D) / √(2 D) for
    normal z of D dimensions. ladj is ln p(x) − ln p(z) over all noises. Dequantization noise is
    at the midpoint.
    """
    specs, found = model.noise_specs(), []
    with frozen(model):
        for _, batch in reading.batches(model, x, "latents"):
            noises, log_p = model.encode(batch, None, MIDPOINT)
            flat = [noise.flatten(1).double() for noise in noises]
            squares = [_standardized(z, spec) for z, spec in zip(flat, specs, strict=True)]
            sizes = [z.abs().sum(1).clamp_min(torch.finfo(torch.float64).tiny).log() for z in flat]
            ladj = log_p.double()
            for z, spec in zip(flat, specs, strict=True):
                ladj = ladj - _STANDARD[spec.distribution](z.shape[1:]).encode(z)[1]
            found.append(torch.stack([*squares, *sizes, ladj], dim=1).cpu())
    return torch.cat(found)


def _standardized(z: Tensor, spec: NoiseSpec) -> Tensor:
    mean, variance = _SQUARE[spec.distribution]
    return (z.square().sum(1) - z.shape[1] * mean) / math.sqrt(z.shape[1] * variance)
