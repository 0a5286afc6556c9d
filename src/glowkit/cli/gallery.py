"""The pictures of a full report, each with how to read it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from glowkit.cli.opened import Opened, prepared, split_batches
from glowkit.core import MIDPOINT
from glowkit.core.finite import LESS_HEAT, broken_examples, broken_sentence
from glowkit.data import Source
from glowkit.densities import noise_of
from glowkit.pictures.sheet import image_sheet, png_of
from glowkit.system.errors import GlowkitError
from glowkit.tasks import interpolate, largest_pixel_error, nearest
from glowkit.tasks.evaluation import REMEDY, error_text, reconstruction
from glowkit.tasks.latent import check_meaning, classes_in_turn, sampled
from glowkit.training.report import Section

COLUMNS = 10
TEMPERATURES = (0.0, 0.25, 0.5, 0.7, 0.85, 1.0)
ASKED = 100  # samples and images whose nearest training images are looked for
SHOWN, NEAREST = 6, 5  # of these samples, and training images beside each


def gallery(
    opened: Opened,
    data: Source,
    split: str,
    bits: Tensor,
    importance: int,
    batch_size: int,
    seed: int,
    baselines: bool,
) -> list[Section]:
    """The sections of a full report, from bits/dim of each image of the split, (N,), and the model.

    importance: samples that each bits/dim is of. What does not apply is a section with a sentence
    instead of a picture.
    """
    levels = opened.pixel_levels
    whole = (
        f"{len(bits)} images of the {split} split of {data.name}, {levels} levels, {importance}"
        f" importance sample(s), seed {seed}."
    )
    return [
        *([] if baselines else [_NO_BASELINES]),
        _temperatures(opened, seed),
        _neighbours(opened, data, split, batch_size, seed),
        _interpolation(opened, data, split),
        _reconstruction(opened, data, split),
        *(_NOISY if noise_of(opened.model) else _by_bits(opened, data, split, bits, whole)),
    ]


def _by_bits(
    opened: Opened, data: Source, split: str, bits: Tensor, whole: str
) -> Iterable[Section]:
    yield replace(_extremes(opened, data, split, bits), note=whole)
    yield replace(_histogram(bits, split), note=whole)


_NOISY = [
    Section(title, "Left out: log p is of images with noise, in nats, and says nothing of bits.")
    for title in ("Most and least likely images", "How bits/dim are spread")
]


_NO_BASELINES = Section(
    "Baselines",
    "None were fitted: they take images of at most 256 values, or as many as 1024 with --baselines,"
    " and ten training images.",
)


def _temperatures(opened: Opened, seed: int) -> Section:
    context = classes_in_turn(opened.model, COLUMNS)
    rows, broken, numbers = [], [], []
    for temperature in TEMPERATURES:
        generator = opened.generator(seed)
        images, lost = sampled(opened.model, COLUMNS, temperature, context, generator)
        rows.append((f"temperature {temperature:g}", images.cpu()))
        broken.append(lost.cpu())
        with torch.no_grad():
            each = opened.objective.each(opened.model, images, context, generator)
        numbers.append(_numbers(each))
    return Section(
        "Temperatures",
        "Samples, each column from the same noise times the temperature of its row. At 1 the model"
        f" is as it was trained; lower ones trade variety for likeliness.{_said(broken)}",
        png_of(image_sheet(rows, opened.pixel_levels, broken=broken, numbers=numbers)),
        f"{COLUMNS} samples a temperature, seed {seed}.",
        _count(broken),
    )


def _numbers(each: Tensor) -> list[str]:
    """What stands under images."""
    return [f"{one:.2f}" for one in each.tolist()]


def _count(broken: "Sequence[Tensor]") -> int:
    return sum(int(mask.sum()) for mask in broken)


def _said(broken: "Sequence[Tensor]", remedy: str = LESS_HEAT) -> str:
    """What to say of broken images in a text, nothing where there is none."""
    total = sum(mask.numel() for mask in broken)
    sentence = broken_sentence(_count(broken), total, remedy=remedy)
    return sentence and f" {sentence}; they are hatched."


def _neighbours(opened: Opened, data: Source, split: str, batch_size: int, seed: int) -> Section:
    title = "Nearest training images"
    if split == "train":
        return Section(
            title, "Left out: they say something beside images that were not trained on."
        )
    context = classes_in_turn(opened.model, ASKED)
    samples, broken = sampled(opened.model, ASKED, 1.0, context, opened.generator(seed))
    samples = samples[~broken]
    if not len(samples):
        text = f"Left out: {broken_sentence(ASKED, ASKED, 'samples')}."
        return Section(title, text, broken=ASKED)
    held_out, _ = _images(opened, data, split, range(min(ASKED, len(data.splits[split]))))
    train = (images for images, _ in split_batches(opened, data, "train", batch_size))
    places, distances = nearest(torch.cat([samples, held_out]), train, NEAREST)
    ours, theirs = (d[:, 0].median() for d in distances.split((len(samples), len(held_out))))
    rows = []
    for sample, found in zip(samples[:SHOWN], places, strict=False):
        images, _ = _images(opened, data, "train", found.tolist())
        rows.append(("", torch.cat([sample[None], images]).cpu()))
    order = ("1st", "2nd", "3rd", "4th", "5th")[: places.shape[1]]
    copies = int((distances[: len(samples), 0] == 0).sum())
    lost = ASKED - len(samples)
    without = f" {broken_sentence(lost, ASKED, 'samples')}; they are left out." if lost else ""
    return Section(
        title,
        "Samples at temperature 1, each with the training images nearest to it: is it a copy?"
        f" Half of {len(samples)} samples are nearer than {ours:.3g} levels (root mean square) to a"
        f" training image, and half of {len(held_out)} images of the {split} split nearer than"
        f" {theirs:.3g}. {copies} of the samples equal a training image." + without,
        png_of(image_sheet(rows, opened.pixel_levels, headings=("sample", *order))),
        f"{ASKED} samples, seed {seed};"
        f" {len(data.splits['train'])} training images of {data.name}.",
        lost,
    )


def _interpolation(opened: Opened, data: Source, split: str) -> Section:
    try:
        check_meaning(opened.model)
    except GlowkitError as error:
        return Section("Interpolation", f"Left out: {error}.")
    number = min(5, len(data.splits[split]))
    if number < 2:
        return Section("Interpolation", "Left out: the split has one image only.")
    images, context = _images(opened, data, split, range(number))
    with torch.no_grad():
        noises, _ = opened.model.encode(images, context, MIDPOINT)
    strips, log_p = interpolate(opened.model, noises, COLUMNS, context=context)
    broken = broken_examples(strips, log_p).cpu()
    return Section(
        "Interpolation",
        f"Ways from one image of the {split} split to the next through the latents, spherical; the"
        f" first and the last of each row are the images themselves.{_said([broken], REMEDY)}",
        png_of(
            image_sheet(
                [("", strip) for strip in strips.cpu()],
                opened.pixel_levels,
                broken=list(broken),
            )
        ),
        f"{number} images of the {split} split of {data.name}, {COLUMNS} frames a way.",
        _count([broken]),
    )


def _reconstruction(opened: Opened, data: Source, split: str) -> Section:
    images, context = _images(opened, data, split, range(min(COLUMNS, len(data.splits[split]))))
    again, broken = reconstruction(opened.model, images, context)
    broken = broken.cpu()
    known = error_text(largest_pixel_error(images, again, broken), opened.pixel_levels)
    rows = [("images", images.cpu()), ("decode(encode(x))", again.cpu())]
    return Section(
        "Reconstruction",
        f"Images of the {split} split, and what is decoded from their latents: the largest"
        f" difference of any value, in levels, is {known}.{_said([broken], REMEDY)}",
        png_of(
            image_sheet(
                rows,
                opened.pixel_levels,
                broken=[torch.zeros_like(broken), broken],
            )
        ),
        f"{len(images)} images of the {split} split of {data.name}.",
        _count([broken]),
    )


def _extremes(opened: Opened, data: Source, split: str, bits: Tensor) -> Section:
    title = "Most and least likely images"
    known = bits[bits.isfinite()]
    if not len(known):
        return Section(title, "Left out: no image of the split has a bits/dim that is finite.")
    number = min(COLUMNS, len(bits))
    rows, numbers = [], []
    order_of = bits.argsort()  # NaN comes last, as the least likely
    for name, order in (("most likely", order_of), ("least likely", order_of.flip(0))):
        images, _ = _images(opened, data, split, order[:number].tolist())
        rows.append((name, images.cpu()))
        numbers.append(_numbers(bits[order[:number]]))
    return Section(
        title,
        f"Of the {split} split, by bits/dim: from {known.min():.3f} to {known.max():.3f}. The least"
        " likely are often odd ones, and sometimes mistakes in the data; plain images are likely"
        f" whatever they show.{_unknown(bits)}",
        png_of(image_sheet(rows, opened.pixel_levels, numbers=numbers)),
    )


def _histogram(bits: Tensor, split: str) -> Section:
    title, text = "How bits/dim are spread", f"Bits/dim of each image of the {split} split."
    text += _unknown(bits)
    if not bits.isfinite().any():
        return Section(title, text)
    known = bits[bits.isfinite()].double().cpu()
    # Rules that follow the spread ask for millions of bins where one image is far out.
    counts, edges = np.histogram(known.numpy(), "sqrt")
    bars = {"edges": edges.tolist(), "counts": counts.tolist(), "mean": bits.mean().item()}
    return Section(title, text, bars=bars)


def _unknown(bits: Tensor) -> str:
    """How many images have no bits/dim, nothing where all have."""
    number = int((~bits.isfinite()).sum())
    return f" Of these bits/dim, {number} of {len(bits)} are not finite." if number else ""


def _images(
    opened: Opened, data: Source, split: str, rows: "range | list[int]"
) -> tuple[Tensor, Tensor | None]:
    return prepared(opened, data, data.splits[split], rows)
