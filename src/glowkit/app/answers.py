"""What the page does with what a person did."""

import base64
import binascii
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from glowkit.app.chart import chart
from glowkit.app.chosen import (
    Chosen,
    between,
    choose,
    draw,
    edit,
    likelihood,
    nearest,
    percentile,
    pick,
    rebuild,
)
from glowkit.app.exhibit import Exhibit, Figure, figures, pad, plain, samples, upload
from glowkit.core.finite import LESS_HEAT, broken_examples, broken_sentence
from glowkit.densities import noise_of
from glowkit.pictures.sheet import inline, png_of, save_gif, to_pil
from glowkit.system.errors import GlowkitError
from glowkit.tasks import Attributes, interpolate, largest_pixel_error, part
from glowkit.tasks.attributes import SMALLER
from glowkit.tasks.evaluation import REMEDY, explain_error
from glowkit.tasks.interpolation import linear
from glowkit.tasks.likelihood import ONE_DRAW, SIGNS

MOST_SAMPLES = 12  # a row
MOST_ROWS = 6
MOST_AMOUNT = 1.5  # of an attribute; about 0.6 goes from one kind of image to the other
MOST_SEED = 2**32 - 1
IN_TURN = "all in turn"
LOOP_FRAMES = 9  # from one corner to the next


@dataclass(frozen=True)
class Wanted:
    """Samples asked for, checked. heats: a row each. label: of a class, or None."""

    count: int
    heats: tuple[float, ...]
    seed: int
    label: int | None


def wanted(
    exhibit: Exhibit,
    count: object,
    low: object,
    high: object,
    rows: object,
    seed: object,
    label: object,
) -> Wanted:
    """What the controls of samples say; the temperatures are in equal steps, the lowest first.

    Raises:
        GlowkitError: for a value that is none of theirs.
    """
    number = round(_number("number of samples", count, 1, MOST_SAMPLES))
    most = exhibit.heat.most
    first, last = sorted(
        _number(f"{name} temperature", value, 0, most)
        for name, value in (("first", low), ("last", high))
    )
    steps = round(_number("number of rows", rows, 1, MOST_ROWS))
    apart = (last - first) / max(1, steps - 1)
    heats = [last - apart * row for row in reversed(range(steps))]
    if isinstance(seed, str) and seed.strip().isascii() and seed.strip().isdecimal():
        seed = int(seed.strip()[:20])  # of any length; beyond 20 digits it is too large anyway
    start = round(_number("seed", seed, 0, MOST_SEED))
    own = None if label == IN_TURN else _label(exhibit, label)
    # As the command line has them, so that both draw the same.
    return Wanted(number, tuple(dict.fromkeys(round(heat, 2) for heat in heats)), start, own)


def sampled(exhibit: Exhibit, asked: Wanted) -> str:
    """A row of samples for each temperature, all of one noise, as HTML."""
    each = [draw(exhibit, asked.count, heat, asked.seed, asked.label) for heat in asked.heats]
    rows = [
        (f"temperature {heat:g}", *drawn) for heat, drawn in zip(asked.heats, each, strict=True)
    ]
    broken = torch.cat([lost for _, lost in each])
    name = f"samples-seed-{asked.seed}"
    return _said(broken, LESS_HEAT) + samples(rows, exhibit.levels, name)


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
    chosen = choose(exhibit, image.to(exhibit.images.device), context)
    own = label if exhibit.class_names else None
    return replace(chosen, notes=notes, name=Path(file).name, label=own)


DRAWING = "data:image/png;base64,"
DRAWN_NAME = "drawing.png"


def can_be_drawn(exhibit: Exhibit) -> bool:
    """Whether a canvas of 8 bits a channel has all that the model tells apart."""
    return exhibit.image_shape[0] in (1, 3) and exhibit.levels <= 256


def drawing_of(exhibit: Exhibit, chosen: Chosen) -> str:
    """An image as the canvas holds it: a PNG as an address."""
    return inline(png_of(to_pil(chosen.image[0], exhibit.levels)))


def from_canvas(exhibit: Exhibit, under: Chosen, drawing: object) -> Chosen:
    """What is on the canvas, a PNG as an address; `under` itself where nothing was drawn on it.

    It has the class of `under`.

    Raises:
        GlowkitError: for what the canvas never sends.
    """
    if drawing is None:
        return under
    if not isinstance(drawing, str) or not drawing.startswith(DRAWING):
        raise GlowkitError("the canvas sent no picture; choose an image to draw on")
    try:
        data = base64.b64decode(drawing.removeprefix(DRAWING), validate=True)
    except binascii.Error as error:
        raise GlowkitError("the drawing is damaged, perhaps because its address is cut") from error
    with tempfile.TemporaryDirectory(prefix="glowkit-drawing-") as folder:
        path = Path(folder, DRAWN_NAME)
        path.write_bytes(data)
        # What its 8 bits lose is said nowhere: the canvas shows these levels already.
        image, _ = upload(path, exhibit.image_shape, exhibit.levels)
    image = image.to(under.image)
    if torch.equal(image, under.image):
        return under
    label = None
    if exhibit.class_names and under.context is not None:
        label = exhibit.class_names[int(under.context)]
    return replace(choose(exhibit, image, under.context), name=DRAWN_NAME, label=label)


def shown(exhibit: Exhibit, chosen: Chosen) -> str:
    """An image, its reconstruction, and how likely it is beside real images, as HTML."""
    again, broken = rebuild(exhibit, chosen)
    error = largest_pixel_error(chosen.image, again, broken)
    known = "not known" if math.isnan(error) else f"{error} of {exhibit.levels - 1}"
    rebuilt = f"decode(encode(x)), largest pixel error {known}"
    pair = [
        Figure(f"{chosen.name}, as the model sees it", chosen.image[0], chosen.name),
        Figure(rebuilt, again[0], "reconstruction", bool(broken[0])),
    ]
    notes = [*chosen.notes, explain_error(exhibit.model, chosen.image, again, chosen.context)]
    about = "".join(f"<p>{plain(note)}</p>" for note in notes if note)
    bits = likelihood(exhibit, chosen)
    said = _said(broken, REMEDY)
    judged = _judged(exhibit, {"this image": bits}, bits)
    return f"{said}{figures(pair, exhibit.levels, 'pair')}{judged}{about}"


def _judged(exhibit: Exhibit, marks: Mapping[str, float], bits: float) -> str:
    """How many bits/dim an image has, and where among real images' they lie, as HTML.

    A density of noisy images has nats instead.
    """
    kind, unit, noise = exhibit.model.log_p_kind, exhibit.unit, noise_of(exhibit.model)
    if not math.isfinite(bits):
        return f"<p>The model gives this image no finite log p, and so no {unit}.</p>"
    of = f"of the image with noise of {noise:g}" if noise else f"at {exhibit.levels} levels"
    said = f"{SIGNS[kind]} {bits:.3f} {unit} {of}{ONE_DRAW[kind]}"
    share, whose = percentile(exhibit, bits)
    if not math.isnan(share):
        said += f"; {share:.0f} % of {whose} have less"
    sentence = f"<p>{plain(said)}.</p>"
    if not len(exhibit.bits):
        return sentence
    unknown = int((~exhibit.bits.isfinite()).sum())
    lost = f" {unknown} of them have a log p that is not finite." if unknown else ""
    about = plain(f"Histogram of the {unit} of {exhibit.measured}. This image: {said}.{lost}")
    return sentence + (f"<p>{lost}</p>" if lost else "") + chart(exhibit.bits, marks, about, unit)


def blended(exhibit: Exhibit, corners: Sequence[Chosen], x: object, y: object) -> str:
    """Four images and the one at a place between them, as HTML."""
    across, down = place_of(x, y)
    middle, broken = between(exhibit, corners, across, down)
    here = replace(nearest(corners, across, down), image=middle)
    bits = math.nan if broken[0] else likelihood(exhibit, here)
    named = [(corner.name, corner.image[0]) for corner in corners]
    said = _said(broken, "take another place or other images")
    drawn = pad(named, middle[0], bool(broken[0]), across, down, exhibit.levels)
    return said + drawn + _judged(exhibit, {"here": bits}, bits)


def place_of(x: object, y: object) -> tuple[float, float]:
    """A place in the square between four images, checked."""
    return _number("place to the right", x, 0, 1), _number("place down", y, 0, 1)


@torch.no_grad()
def looped(exhibit: Exhibit, corners: Sequence[Chosen]) -> str:
    """An animation along the sides of the square between four images, as HTML with a link to it."""
    order = [corners[number] for number in (0, 1, 3, 2, 0)]
    noises = part(exhibit.model, torch.cat([corner.latents for corner in order]))
    contexts = [corner.context for corner in order if corner.context is not None]
    context = torch.cat(contexts) if contexts else None
    drawn, log_p = interpolate(exhibit.model, noises, LOOP_FRAMES, linear, context=context)
    broken = broken_examples(drawn, log_p).flatten()
    with tempfile.TemporaryDirectory(prefix="glowkit-loop-") as folder:
        path = Path(folder, "loop.gif")
        save_gif(drawn.flatten(0, 1).cpu(), exhibit.levels, path, broken.cpu())
        uri = inline(path.read_bytes(), "gif")
    about = plain(f"An animation from {', '.join(corner.name for corner in order)}")
    return (
        f"{_said(broken, 'take other images')}"
        f'<div class="flow"><figure class="first"><img alt="{about}" src="{uri}"></figure></div>'
        f'<p><a href="{uri}" download="between.gif">Download the GIF</a></p>'
    )


def edited(
    exhibit: Exhibit, chosen: Chosen, attributes: Attributes, amounts: Mapping[str, object]
) -> str:
    """An image after its edit by so much of each attribute, and before, as HTML."""
    numbers = amounts_of(amounts)
    after, broken = edit(exhibit, chosen, attributes, numbers)
    before, bits = likelihood(exhibit, chosen), math.nan
    if not broken[0]:
        bits = likelihood(exhibit, replace(chosen, image=after))
    named = [
        Figure(f"{chosen.name} after the edit", after[0], "edited", bool(broken[0])),
        Figure("before", chosen.image[0], chosen.name),
    ]
    said = _said(broken, SMALLER)
    judged = _judged(exhibit, {"before": before, "after": bits}, bits)
    return f"{said}{figures(named, exhibit.levels)}{judged}"


def amounts_of(amounts: Mapping[str, object]) -> dict[str, float]:
    """Amounts of attributes, checked."""
    return {
        name: _number(f"amount of {name}", amount, -MOST_AMOUNT, MOST_AMOUNT)
        for name, amount in amounts.items()
    }


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


def _label(exhibit: Exhibit, label: object) -> int:
    if not isinstance(label, str) or label not in exhibit.class_names:
        raise GlowkitError(f"this model has no class {label!r}")
    return exhibit.class_names.index(label)
