"""What the page answers: values that come from anywhere are checked, and images become HTML."""

from collections.abc import Sequence
from pathlib import Path

import torch

from glowkit.app.actions import Chosen, between, choose, draw, edit, likelihood, rebuild
from glowkit.app.drawing import figures, plot, samples
from glowkit.app.exhibit import Exhibit
from glowkit.app.uploads import read_upload
from glowkit.core.errors import GlowkitError
from glowkit.tasks import Attributes, largest_pixel_error
from glowkit.tasks.histogram import histogram

MOST_SAMPLES = 24
MOST_TEMPERATURE = 2.0
MOST_AMOUNT = 1.5  # of an attribute; about 0.6 goes from one kind of image to the other
MOST_SEED = 2**32 - 1
IN_TURN = "all in turn"


def sampled(exhibit: Exhibit, count: object, temperature: object, seed: object, label: str) -> str:
    """Samples as HTML; `label` is the name of a class, or `IN_TURN`."""
    number = round(_number("number of samples", count, 1, MOST_SAMPLES))
    heat = _number("temperature", temperature, 0, MOST_TEMPERATURE)
    start = round(_number("seed", seed, 0, MOST_SEED))
    own = None if label == IN_TURN else _label(exhibit, label)
    images = draw(exhibit, number, heat, start, own)
    return samples(images, exhibit.levels, f"temperature-{heat:g}-seed-{start}")


def uploaded(exhibit: Exhibit, file: str | None, label: str) -> Chosen:
    """The image of an uploaded file; `label` is the name of its class, if the model has any."""
    if file is None:
        raise GlowkitError("there is no file; choose one to upload")
    image = read_upload(Path(file), exhibit.image_shape, exhibit.levels)
    context = None
    if exhibit.class_names:
        context = torch.tensor([_label(exhibit, label)], device=exhibit.images.device)
    return choose(exhibit, image.to(exhibit.images.device), context)


def shown(exhibit: Exhibit, chosen: Chosen) -> str:
    """An image, its reconstruction, and how likely it is beside real images, as HTML."""
    again = rebuild(exhibit, chosen)
    error = largest_pixel_error(chosen.image, again)
    rebuilt = f"decode(encode(x)), largest pixel error {error} of {exhibit.levels - 1}"
    pair = [("x, as the model sees it", chosen.image[0]), (rebuilt, again[0])]
    bits = likelihood(exhibit, chosen)
    sentence = f"{bits:.3f} bits/dim."
    drawn = ""
    if len(exhibit.bits):
        less = int((exhibit.bits > bits).sum())
        sentence += f" {less} of {exhibit.measured} are less likely."
        drawn = plot(histogram(exhibit.bits, {"this image": bits}), f"Histogram: {sentence}")
    return f"{figures(pair, exhibit.levels)}<p>{sentence}</p>{drawn}"


def blended(exhibit: Exhibit, a: Chosen, b: Chosen, t: object) -> str:
    """Two images and the one between them, as HTML."""
    place = _number("place between the images", t, 0, 1)
    middle = between(exhibit, a, b, place)[0]
    named = [("first", a.image[0]), (f"between, at {place:.2f}", middle), ("second", b.image[0])]
    return figures(named, exhibit.levels)


def edited(
    exhibit: Exhibit, chosen: Chosen, attributes: Attributes, amounts: Sequence[object]
) -> str:
    """An image before and after its edit by so much of each attribute, in their order, as HTML."""
    numbers = [
        _number(f"amount of {name}", amount, -MOST_AMOUNT, MOST_AMOUNT)
        for name, amount in zip(attributes.names, amounts, strict=True)
    ]
    after = edit(exhibit, chosen, attributes, dict(zip(attributes.names, numbers, strict=True)))
    return figures([("before", chosen.image[0]), ("after", after[0])], exhibit.levels)


def _number(what: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise GlowkitError(f"the {what} must be a number from {low:g} to {high:g}")
    return float(value)


def _label(exhibit: Exhibit, label: str) -> int:
    if label not in exhibit.class_names:
        raise GlowkitError(f"this model has no class {label!r}")
    return exhibit.class_names.index(label)
