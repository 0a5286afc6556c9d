"""Sizes of compressed images against their number, beside PNG, lossless WebP and JPEG XL.

    glowkit train fashion-mnist --preset glow-small --precision bfloat16 --batch-size 32 \
        --learning-rate 3e-3 --minutes 60 --out runs/fashion
    python -m benchmarks.compression runs/fashion fashion-mnist 10000 compression.png

Prints a table of bits/dim, headers and all, the processor time of an image, and the model's bound,
of the first 1,000 also with its networks in bfloat16; and draws the sizes. The model's line jumps
with its batches: a file is as large as the state of its coder. Other codecs' files of an image each
are of the first 1,000.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

import glowkit
from glowkit.data import Source, open_source
from glowkit.data.levels import to_levels
from glowkit.system.files import replacing
from glowkit.tasks.coding import Codec, decompress
from glowkit.tasks.coding.classical import codecs, file_bits, sheet_bits
from glowkit.tasks.coding.container import compressed

COUNTS = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000, 2000, 5000, 10000)
MOST_FILES = 1000
DRAWS = 8
AT_ONCE = 250

Curve = dict[int, float]


def model_curve(model: glowkit.Density, images: Tensor) -> tuple[Curve, float, float]:
    """Bits/dim of files of the first images, by how many; milliseconds an image, each way."""
    codec, curve = Codec.compile(model), Curve()
    begun = time.process_time()
    made = compressed(
        codec,
        model,
        images,
        verify=False,
        progress=lambda done, size: curve.update({done: 8 * size / (done * codec.size)}),
    )
    encoded = time.process_time()
    again, _ = decompress(model, made.data)
    decoded = time.process_time()
    if not torch.equal(again, images):
        raise AssertionError("these images did not come back")
    print(
        f"{len(made.data):,} bytes, {8 * len(made.data) / images.numel():.4f} bits/dim;"
        f" {made.plain} images coded without the model, {made.fallbacks} that it could not code",
        flush=True,
    )
    each = 1000 / len(images)
    return curve, (encoded - begun) * each, (decoded - encoded) * each


def classical_curves(images: Tensor, levels: int) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """The same of each other codec: with a file an image, and on one sheet."""
    counts = [count for count in COUNTS if count <= len(images)]
    files: dict[str, Curve] = {name: {} for name in codecs()}
    sheets: dict[str, Curve] = {name: {} for name in codecs()}
    for count in counts:
        for name, sheet in sheet_bits(images[:count], levels).items():
            if sheet is not None:
                sheets[name][count] = sheet
    each = [file_bits(image, levels) for image in images[:MOST_FILES].split(1)]
    for count in (count for count in counts if count <= MOST_FILES):
        for name in files:
            files[name][count] = sum(bits[name] for bits in each[:count]) / count
    return files, sheets


def bound(model: glowkit.Density, images: Tensor) -> float:
    """The model's bits/dim, the mean of some draws of the dequantization noise."""
    noise, total = torch.Generator().manual_seed(0), 0.0
    with torch.no_grad(), glowkit.frozen(model):
        for _ in range(DRAWS):
            for batch in images.split(AT_ONCE):
                total += float(glowkit.bits_per_dim(model, batch, generator=noise).sum())
    return total / (DRAWS * len(images))


def in_bfloat16(model: glowkit.Density) -> glowkit.Density | None:
    """The same weights with networks in bfloat16, as they may have been trained; None for none."""
    config: Any = getattr(model, "config", None)
    if getattr(config, "precision", "bfloat16") == "bfloat16":
        return None
    other = glowkit.build(replace(config, precision="bfloat16"))
    other.load_state_dict(model.state_dict())
    return other.eval()


def picture(curve: Curve, best: float, files: dict[str, Curve], sheets: dict[str, Curve]) -> Figure:
    """Bits/dim against how many images: the model's black, others by colour."""
    figure = Figure((8, 4.5), layout="constrained")
    axes = figure.subplots()
    for index, name in enumerate(files):
        color = f"C{index}"
        axes.plot(*zip(*files[name].items(), strict=True), ":", color=color)
        axes.plot(*zip(*sheets[name].items(), strict=True), color=color, label=name)
    axes.plot(*zip(*curve.items(), strict=True), color="black", label="glowkit compress")
    axes.axhline(best, color="0.6", linewidth=1)
    axes.annotate("the model's bound", (1, best), (0, -11), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    shown = [*curve.values(), *(bits for sheet in sheets.values() for bits in sheet.values())]
    axes.set_ylim(min(best, *shown) - 0.3, max(shown) + 0.3)
    axes.set_xlabel("images in the file (dotted: a file an image)")
    axes.set_ylabel("bits/dim")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def main(run: str, data: str, count: str, out: str) -> None:
    source = open_source(data)
    if not isinstance(source, Source):
        raise glowkit.GlowkitError(f"{data} are points; compression is of images")
    model = glowkit.load(Path(run) / "model")
    assert isinstance(model, glowkit.Dequantize)
    split = source.splits["test"]
    images = torch.as_tensor(split.__getitems__(list(range(min(int(count), len(split)))))[0])
    images = to_levels(images, source.pixel_levels, model.levels)
    curve, there, back = model_curve(model, images)
    best = bound(model, images)
    print(f"bound, the mean of {DRAWS} draws: {best:.4f}", flush=True)
    other = in_bfloat16(model)
    if other is not None:
        few = images[:MOST_FILES]
        of_few = bound(model, few), bound(other, few)
        print("of the first {}: {:.4f}, in bfloat16 {:.4f}".format(len(few), *of_few), flush=True)
    files, sheets = classical_curves(images, model.levels)
    print(f"{there:.1f} ms an image there, not verified, and {back:.1f} ms back")
    for n in (n for n in COUNTS if n <= len(images)):
        nearest = min(curve, key=lambda done: abs(done - n))
        each = [f"{files[name][n]:.3f}" if n in files[name] else "-" for name in files]
        one = [f"{sheets[name][n]:.3f}" if n in sheets[name] else "-" for name in sheets]
        print(
            f"| {n} | {curve[nearest]:.3f} ({nearest}) | {' | '.join(one)} | {' | '.join(each)} |"
        )
    with replacing(Path(out)) as path:
        FigureCanvasAgg(picture(curve, best, files, sheets)).print_png(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
