"""What a person chose on the page, and what a model makes of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from glowkit.app.exhibit import Exhibit
from glowkit.core import MIDPOINT
from glowkit.tasks import Attributes, join, part
from glowkit.tasks.attributes import edit_latents
from glowkit.tasks.interpolation import inside, linear
from glowkit.tasks.latent import classes_in_turn, decoded
from glowkit.tasks.latent import sampled as samples_of
from glowkit.tasks.likelihood import in_its_unit

SEED = 0  # of the dequantization noise under a likelihood, so that an image always has the same


Drawn = tuple[Tensor, Tensor]
"""Images (N, C, H, W), and which of them could not be computed, (N,) bool."""


@dataclass(frozen=True)
class Chosen:
    """An image (1, C, H, W), its latents (1, D), and its class, (1,), for a conditional model.

    notes: what was lost when the image was made of a file. name: what a command calls it, test:3 or
    a file; label: the class of a file of a conditional model, which has to be said beside it.
    """

    image: Tensor
    latents: Tensor
    context: Tensor | None
    notes: tuple[str, ...] = ()
    name: str = "image.png"
    label: str | None = None


@torch.no_grad()
def draw(
    exhibit: Exhibit, count: int, temperature: float, seed: int, label: int | None = None
) -> Drawn:
    """Samples (count, C, H, W), of one class or, without `label`, of the classes in turn."""
    context = classes_in_turn(exhibit.model, count)
    if context is not None and label is not None:
        context = torch.full_like(context, label)
    generator = torch.Generator(exhibit.images.device).manual_seed(seed)
    return samples_of(exhibit.model, count, temperature, context, generator)


@torch.no_grad()
def choose(exhibit: Exhibit, image: Tensor, context: Tensor | None = None) -> Chosen:
    """Encode an image (1, C, H, W), or several, dequantized at the middle of each bin."""
    noises, _ = exhibit.model.encode(image, context, MIDPOINT)
    return Chosen(image, join(noises), context)


def pick(exhibit: Exhibit, row: int) -> Chosen:
    """Choose one of the exhibit's own images."""
    rows = slice(row, row + 1)
    context = None if exhibit.contexts is None else exhibit.contexts[rows]
    chosen = replace(choose(exhibit, exhibit.images[rows], context), name=exhibit.names[row])
    if exhibit.class_names and context is not None and chosen.name.endswith(".png"):
        return replace(chosen, label=exhibit.class_names[int(context)])
    return chosen


@torch.no_grad()
def rebuild(exhibit: Exhibit, chosen: Chosen) -> Drawn:
    """decode(encode(x)), (1, C, H, W): the image itself, if all is well."""
    return decoded(exhibit.model, part(exhibit.model, chosen.latents), chosen.context)


@torch.no_grad()
def between(exhibit: Exhibit, corners: Sequence[Chosen], x: float, y: float) -> Drawn:
    """The image (1, C, H, W) at (x, y) of the square between four, 0 to 1 to the right and down.

    Its latents are bilinear between theirs, and it has the class of the nearest, as in
    `glowkit.tasks.interpolate`.
    """
    keys = torch.cat([corner.latents for corner in corners])
    latents = inside(keys, keys.new_tensor([x]), keys.new_tensor([y]), linear)
    context = nearest(corners, x, y).context
    return decoded(exhibit.model, part(exhibit.model, latents.flatten(0, 1)), context)


def nearest(corners: Sequence[Chosen], x: float, y: float) -> Chosen:
    """The corner that is nearest to a place."""
    return corners[round(x) + 2 * round(y)]


def edit(
    exhibit: Exhibit, chosen: Chosen, attributes: Attributes, amounts: Mapping[str, float]
) -> Drawn:
    """The image (1, C, H, W) at z + Σ amount · direction, as `glowkit.tasks.edit` without encoding.

    Raises:
        GlowkitError: for an unknown attribute.
    """
    return edit_latents(exhibit.model, chosen.latents, attributes, amounts, chosen.context)


@torch.no_grad()
def likelihood(exhibit: Exhibit, chosen: Chosen) -> float:
    """Bits/dim of an image, or nats of a noisy one, from one draw of noise, always the same."""
    generator = torch.Generator(chosen.image.device).manual_seed(SEED)
    log_p = exhibit.model.log_prob(chosen.image, chosen.context, generator)
    return in_its_unit(exhibit.model, log_p, chosen.image).item()


def percentile(exhibit: Exhibit, bits: float) -> tuple[float, str]:
    """The percentage of real images with less of it, NaN where none are known, and of which."""
    if exhibit.attributes is not None:
        return exhibit.attributes.percentile(bits), "held-out images"
    known = exhibit.bits[exhibit.bits.isfinite()]
    if math.isnan(bits) or not len(known):
        return math.nan, exhibit.measured
    return 100 * (known < bits).float().mean().item(), exhibit.measured
