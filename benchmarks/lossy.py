r"""Figures of coding with loss: before and after training for it, beside other codecs, and again.

    glowkit train fashion-mnist --preset glow-tiny --minutes 4 --out runs/fashion
    glowkit lossy train runs/fashion --minutes 50 --out runs/fashion-lossy
    glowkit lossy train runs/fashion-lossy --round-trip 4 --learning-rate 0.002 --epochs 1.7 \
        --out runs/fashion-again
    pip install 'glowkit[codec]'
    python -m benchmarks.lossy runs/fashion runs/fashion-again lossy.png
    python -m benchmarks.lossy runs/fashion-again runs/fashion-lossy other.png

Prints what docs/lossy.md has: PSNR and bits/pixel over steps with both runs; of every other codec
the PSNR at the same bits/pixel, of whole files and without headers; PSNR, equal codes and images
that stay over generations; and draws both.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import glowkit
from glowkit.data import Source, open_source
from glowkit.pictures.lossy import curve_image
from glowkit.tasks.lossy import LossySettings, unit_of
from glowkit.tasks.lossy.classical import Codec, codecs
from glowkit.tasks.lossy.coder import LossyCodec
from glowkit.tasks.lossy.generations import (
    Generations,
    Point,
    generations,
    generations_beside,
    points_of,
    rate_points,
)
from glowkit.training import read_run

RATES, REPEATED, AGAIN = 50, 16, 50
"""Test images for rates, and for generations; how many of them."""

SHOWN = (1, 2, 6, 11, 50)


def main(
    before: str,
    after: str,
    out: str,
    images: int,
    steps: Sequence[float],
    again_at: Sequence[float],
) -> None:
    """Print the tables and draw the picture of two runs on the same data.

    steps: of rates, in pixel levels. again_at: of generations; other codecs are beside the first.
    """
    torch.set_num_threads(1)
    run = read_run(after)
    assert run.lossy is not None
    source = open_source(**run.data)
    assert isinstance(source, Source)
    batch = source.splits["test"].__getitems__(list(range(images)))[0]
    lines: dict[str, Any] = {"glowkit": curve(after, batch, run.lossy, steps)}
    try:
        known = read_run(before).lossy
        if known is None:
            first = source.splits["train"].__getitems__(list(range(512)))[0]
            known = LossySettings(unit_of(glowkit.load(before), first), 1.0, 1.0)
        curve(before, batch, known, steps)
    except glowkit.GlowkitError as error:
        print(f"{before}: {error}")
    others = codecs() if batch.shape[1] in (1, 3) and glowkit.load(after).levels == 256 else {}
    for name, codec in others.items():
        lines[name] = []
        for point in points_of(codec, batch, 256):
            lines[name].append(point)
            print(f"{name} {point.at:g}: {point}", flush=True)
    again: dict[str, Generations] = {}
    for number, step in enumerate(again_at):
        beside = {} if number else others
        found_all = of_generations(after, batch[:REPEATED], run.lossy, step, beside)
        again = again or found_all
        for name, found_again in found_all.items():
            show(f"{name}, step {step:g}", found_again)
    drawn = {name: found_again.psnr for name, found_again in again.items()}
    Path(out).write_bytes(curve_image(lines, drawn))


def curve(run: str, batch: Tensor, settings: LossySettings, steps: Sequence[float]) -> list[Point]:
    """PSNR, SSIM and rates of a run, printed too."""
    codec, points = LossyCodec.compile(glowkit.load(run)), []
    for step in steps:
        points += rate_points(codec, batch, settings.unit, [step])
        print(f"{run} step {step:g}: {points[-1]}", flush=True)
    return points


def of_generations(
    run: str, batch: Tensor, settings: LossySettings, step: float, others: Mapping[str, Codec]
) -> dict[str, Generations]:
    """Ours with and without the search for fixed points, and other codecs at the same rate."""
    codec, pixels = LossyCodec.compile(glowkit.load(run)), batch.shape[2] * batch.shape[3]
    found = {
        "glowkit": generations(codec, batch, step * settings.unit, AGAIN),
        "glowkit, no search": generations(codec, batch, step * settings.unit, AGAIN, False),
    }
    (point,) = rate_points(codec, batch, settings.unit, [step])
    size = point.files * pixels / 8
    return found | generations_beside(others, batch, size, AGAIN, codec.levels)


def show(name: str, found: Generations) -> None:
    """A line of PSNR after some generations, and of what stayed."""
    errors = ", ".join(f"{found.psnr[n - 1]:.2f} dB ({n})" for n in SHOWN if n <= len(found.psnr))
    codes = f", codes equal at 2: {found.same_codes[0]:.4f}" if found.same_codes else ""
    stay = [found.same_images[n - 2] for n in SHOWN[1:] if n <= len(found.psnr)]
    print(
        f"{name}: {errors}{codes}, images that stay {', '.join(f'{s:.2f}' for s in stay)}",
        flush=True,
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    count = int(given[3]) if len(given) > 3 else RATES
    asked, repeated = (
        [float(word) for word in (given[place] if len(given) > place else usual).split(",")]
        for place, usual in ((4, "1,2,5,10,25,32"), (5, "10,25,7"))
    )
    main(given[0], given[1], given[2], count, asked, repeated)
