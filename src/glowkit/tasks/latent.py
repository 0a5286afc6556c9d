"""Latents as vectors: all noises of an example side by side, and what keeps some of them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from glowkit.core import Density, Generator, GlowkitError
from glowkit.core.finite import finite_examples
from glowkit.core.inputs import check_count


def join(noises: Sequence[Tensor]) -> Tensor:
    """The noises of N examples as vectors (N, D), in the order `encode` returns them.

    >>> join([torch.zeros(5, 2, 4, 4), torch.zeros(5, 4, 2, 2)]).shape
    torch.Size([5, 48])
    """
    return torch.cat([noise.flatten(1) for noise in noises], dim=1)


def part(model: Density, latents: Tensor) -> list[Tensor]:
    """Undo `join`: vectors (N, D) as the list of noises that `decode` takes.

    Raises:
        GlowkitError: when D is not what the model's noises add up to.

    >>> from glowkit.densities import StandardNormal
    >>> [noise.shape for noise in part(StandardNormal((1, 2, 2)), torch.zeros(5, 4))]
    [torch.Size([5, 1, 2, 2])]
    """
    sizes = noise_sizes(model)
    if latents.shape[1:] != (sum(sizes),):
        raise GlowkitError(
            f"latents have shape {tuple(latents.shape)}, but this model takes (N, {sum(sizes)})"
        )
    parts = latents.split(sizes, dim=1)
    return [
        noise.reshape(-1, *spec.shape)
        for noise, spec in zip(parts, model.noise_specs(), strict=True)
    ]


def noise_sizes(model: Density) -> list[int]:
    """How many dimensions each noise of a model has, the finest scale first."""
    return [math.prod(spec.shape) for spec in model.noise_specs()]


def check_latents(latents: Tensor) -> None:
    """Refuse latents (N, D), or what was made of them, that are not numbers.

    Raises:
        GlowkitError: with their number.
    """
    wrong = int((~finite_examples(latents)).sum())
    if wrong:
        raise GlowkitError(
            f"{wrong} of {len(latents)} images in a batch have latents that are not finite, from"
            " which no direction can be told; train the model longer"
        )


@torch.no_grad()
def keep_coarse(
    model: Density,
    noises: Sequence[Tensor],
    kept: int,
    temperature: float = 1.0,
    generator: Generator = None,
) -> list[Tensor]:
    """Keep the noises of the `kept` coarsest scales, and draw the finer ones afresh.

    What stays the same in decode(keep_coarse(encode(x))) is what the coarse scales hold. The fresh
    noise depends on the generator alone, not on `kept`. Source: RealNVP, figure 8.

    Raises:
        GlowkitError: when `kept` is not from 0 to the number of noises.
    """
    check_count(kept, "the number of scales to keep", least=0)
    if kept > len(noises):
        raise GlowkitError(f"cannot keep {kept} scales; this model has {len(noises)}")
    fresh = model.draw_noises(len(noises[0]), temperature, generator)
    dropped = len(noises) - kept
    return [*fresh[:dropped], *noises[dropped:]]
