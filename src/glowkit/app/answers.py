"""What the page does with what a person did."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from glowkit.app.exhibit import Exhibit, figures, plain, plot, samples, upload
from glowkit.core import MIDPOINT
from glowkit.core.finite import LESS_HEAT, broken_sentence
from glowkit.pictures.plots import histogram
from glowkit.system.errors import GlowkitError
from glowkit.tasks import Attributes, bits_per_dim, join, largest_pixel_error, part
from glowkit.tasks.attributes import SMALLER, edit_latents
from glowkit.tasks.evaluation import REMEDY, explain_error
from glowkit.tasks.latent import classes_in_turn, decoded, spherical
from glowkit.tasks.latent import sampled as samples_of
from glowkit.tasks.likelihood import ONE_DRAW, SIGNS

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
    context = classes_in_turn(exhibit.model, count)
    if context is not None and label is not None:
        context = torch.full_like(context, label)
    generator = torch.Generator(exhibit.images.device).manual_seed(seed)
    return samples_of(exhibit.model, count, temperature, context, generator)


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
    return decoded(exhibit.model, part(exhibit.model, chosen.latents), chosen.context)


@torch.no_grad()
def between(exhibit: Exhibit, a: Chosen, b: Chosen, t: float) -> Drawn:
    """The image (1, C, H, W) on the spherical path from a, at t = 0, to b, at t = 1.

    It has the class of the nearer end, as in `glowkit.tasks.interpolate`.
    """
    latents = spherical(a.latents, b.latents, a.latents.new_full((1, 1), t))
    context = (a if t < 0.5 else b).context
    return decoded(exhibit.model, part(exhibit.model, latents), context)


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
    """Bits/dim of an image, from one draw of dequantization noise, always the same."""
    generator = torch.Generator(chosen.image.device).manual_seed(SEED)
    return bits_per_dim(exhibit.model, chosen.image, chosen.context, generator).item()


MOST_SAMPLES = 24
MOST_TEMPERATURE = 2.0
MOST_AMOUNT = 1.5  # of an attribute; about 0.6 goes from one kind of image to the other
MOST_SEED = 2**32 - 1
IN_TURN = "all in turn"


def sampled(exhibit: Exhibit, count: object, temperature: object, seed: object, label: str) -> str:
    """Samples as HTML; `label` is the name of a class, or `IN_TURN`."""
    number = round(_number("number of samples", count, 1, MOST_SAMPLES))
    heat = _number("temperature", temperature, 0, MOST_TEMPERATURE)
    if isinstance(seed, str) and seed.strip().isascii() and seed.strip().isdecimal():
        seed = int(seed.strip()[:20])  # of any length; beyond 20 digits it is too large anyway
    start = round(_number("seed", seed, 0, MOST_SEED))
    own = None if label == IN_TURN else _label(exhibit, label)
    images, broken = draw(exhibit, number, heat, start, own)
    name = f"temperature-{heat:g}-seed-{start}"
    return _said(broken, LESS_HEAT) + samples(images, exhibit.levels, name, broken)


def picked(exhibit: Exhibit, row: object) -> Chosen:
    """One of the exhibit's own images."""
    if not isinstance(row, int) or not 0 <= row < len(exhibit.images):
        raise GlowkitError("there is no such image to choose; pick one of those shown")
    return pick(exhibit, row)


def uploaded(exhibit: Exhibit, file: str | None, label: str) -> Chosen:
    """The image of an uploaded file; `label` is the name of its class, if the model has any."""
    if file is None:
        raise GlowkitError("there is no file; choose one to upload")
    image, notes = upload(Path(file), exhibit.image_shape, exhibit.levels)
    context = None
    if exhibit.class_names:
        context = torch.tensor([_label(exhibit, label)], device=exhibit.images.device)
    return replace(choose(exhibit, image.to(exhibit.images.device), context), notes=notes)


def shown(exhibit: Exhibit, chosen: Chosen) -> str:
    """An image, its reconstruction, and how likely it is beside real images, as HTML."""
    again, broken = rebuild(exhibit, chosen)
    error = largest_pixel_error(chosen.image, again, broken)
    known = "not known" if math.isnan(error) else f"{error} of {exhibit.levels - 1}"
    rebuilt = f"decode(encode(x)), largest pixel error {known}"
    pair = [
        ("x, as the model sees it", chosen.image[0], False),
        (rebuilt, again[0], bool(broken[0])),
    ]
    bits = likelihood(exhibit, chosen)
    kind = exhibit.model.log_p_kind
    sentence = f"{SIGNS[kind]} {bits:.3f} bits/dim at {exhibit.levels} levels{ONE_DRAW[kind]}."
    if not math.isfinite(bits):
        sentence = "The model gives this image no finite log p, and so no bits/dim."
    notes = [*chosen.notes, explain_error(exhibit.model, chosen.image, again, chosen.context)]
    about = "".join(f"<p>{plain(note)}</p>" for note in notes if note)
    drawn = ""
    if len(exhibit.bits) and not math.isnan(bits):
        less = int((exhibit.bits > bits).sum())
        sentence += f" {less} of {exhibit.measured} are less likely."
        unknown = int((~exhibit.bits.isfinite()).sum())
        sentence += f" {unknown} of them have a log p that is not finite." if unknown else ""
        drawn = plot(histogram(exhibit.bits, {"this image": bits}), f"Histogram: {sentence}")
    said = _said(broken, REMEDY)
    return f"{said}{figures(pair, exhibit.levels)}<p>{plain(sentence)}</p>{about}{drawn}"


def blended(exhibit: Exhibit, a: Chosen, b: Chosen, t: object) -> str:
    """Two images and the one between them, as HTML."""
    place = _number("place between the images", t, 0, 1)
    middle, broken = between(exhibit, a, b, place)
    named = [
        ("first", a.image[0], False),
        (f"between, at {place:.2f}", middle[0], bool(broken[0])),
        ("second", b.image[0], False),
    ]
    return _said(broken, "take another place or other images") + figures(named, exhibit.levels)


def edited(
    exhibit: Exhibit, chosen: Chosen, attributes: Attributes, amounts: Sequence[object]
) -> str:
    """An image before and after its edit by so much of each attribute, in their order, as HTML."""
    numbers = [
        _number(f"amount of {name}", amount, -MOST_AMOUNT, MOST_AMOUNT)
        for name, amount in zip(attributes.names, amounts, strict=True)
    ]
    amounts_by_name = dict(zip(attributes.names, numbers, strict=True))
    after, broken = edit(exhibit, chosen, attributes, amounts_by_name)
    named = [("before", chosen.image[0], False), ("after", after[0], bool(broken[0]))]
    return _said(broken, SMALLER) + figures(named, exhibit.levels)


def _said(broken: torch.Tensor, remedy: str) -> str:
    """How many images are hatched, as HTML; nothing where none is."""
    sentence = broken_sentence(int(broken.sum()), broken.numel(), "image(s)", remedy)
    return sentence and f'<p class="broken" role="status">{sentence}. Such images are hatched.</p>'


def _number(what: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        given = "nothing" if value in (None, "") else str(value)[:40]
        raise GlowkitError(
            f"the {what} must be a number from {low:.10g} to {high:.10g}, not {given}"
        )
    return float(value)


def _label(exhibit: Exhibit, label: str) -> int:
    if label not in exhibit.class_names:
        raise GlowkitError(f"this model has no class {label!r}")
    return exhibit.class_names.index(label)
