"""What the page does with a model: from numbers and images to images, without any page."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from glowkit.app.exhibit import Exhibit
from glowkit.core import MIDPOINT
from glowkit.core.finite import broken_examples
from glowkit.tasks import Attributes, bits_per_dim, join, part
from glowkit.tasks.attributes import edit_latents
from glowkit.tasks.interpolation import spherical

SEED = 0  # of the dequantization noise under a likelihood, so that an image always has the same


Drawn = tuple[Tensor, Tensor]
"""Images (N, C, H, W), and which of them could not be computed, (N,) bool."""


@dataclass(frozen=True)
class Chosen:
    """An image (1, C, H, W), its latents (1, D), and its class, (1,), for a conditional model.

    notes: what was lost when the image was made of a file.
    """

    image: Tensor
    latents: Tensor
    context: Tensor | None
    notes: tuple[str, ...] = ()


@torch.no_grad()
def draw(
    exhibit: Exhibit, count: int, temperature: float, seed: int, label: int | None = None
) -> Drawn:
    """Samples (count, C, H, W), of one class or, without `label`, of the classes in turn."""
    device, classes = exhibit.images.device, len(exhibit.class_names)
    context = None
    if classes:
        context = torch.arange(count, device=device) % classes
        if label is not None:
            context = torch.full_like(context, label)
    generator = torch.Generator(device).manual_seed(seed)
    return _decoded(exhibit, exhibit.model.draw_noises(count, temperature, generator), context)


@torch.no_grad()
def choose(exhibit: Exhibit, image: Tensor, context: Tensor | None = None) -> Chosen:
    """Encode an image (1, C, H, W), dequantized at the middle of each bin."""
    noises, _ = exhibit.model.encode(image, context, MIDPOINT)
    return Chosen(image, join(noises), context)


def pick(exhibit: Exhibit, row: int) -> Chosen:
    """Choose one of the exhibit's own images."""
    rows = slice(row, row + 1)
    context = None if exhibit.contexts is None else exhibit.contexts[rows]
    return choose(exhibit, exhibit.images[rows], context)


@torch.no_grad()
def rebuild(exhibit: Exhibit, chosen: Chosen) -> Drawn:
    """decode(encode(x)), (1, C, H, W): the image itself, if all is well."""
    return _decoded(exhibit, part(exhibit.model, chosen.latents), chosen.context)


@torch.no_grad()
def between(exhibit: Exhibit, a: Chosen, b: Chosen, t: float) -> Drawn:
    """The image (1, C, H, W) on the spherical path from a, at t = 0, to b, at t = 1.

    It has the class of the nearer end, as in `glowkit.tasks.interpolate`.
    """
    latents = spherical(a.latents, b.latents, a.latents.new_full((1, 1), t))
    context = (a if t < 0.5 else b).context
    return _decoded(exhibit, part(exhibit.model, latents), context)


def edit(
    exhibit: Exhibit, chosen: Chosen, attributes: Attributes, amounts: Mapping[str, float]
) -> Drawn:
    """The image (1, C, H, W) at z + Σ amount · direction, as `glowkit.tasks.edit` without encoding.

    Raises:
        GlowkitError: for an unknown attribute.
    """
    after, log_p = edit_latents(exhibit.model, chosen.latents, attributes, amounts, chosen.context)
    return after, broken_examples(after, log_p)


@torch.no_grad()
def likelihood(exhibit: Exhibit, chosen: Chosen) -> float:
    """Bits/dim of an image, from one draw of dequantization noise, always the same."""
    generator = torch.Generator(chosen.image.device).manual_seed(SEED)
    return bits_per_dim(exhibit.model, chosen.image, chosen.context, generator).item()


def _decoded(exhibit: Exhibit, noises: list[Tensor], context: Tensor | None) -> Drawn:
    images, log_p = exhibit.model.decode(noises, context)
    return images, broken_examples(images, log_p)
