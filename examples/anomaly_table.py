"""Which anomaly scores find which outside images? AUROC of every score on sets made for it.

    glowkit train fashion-mnist --preset glow-small --minutes 6 --out runs/fashion
    glowkit train fashion-mnist --preset glow-small --minutes 4 --perturb 0.1 --out runs/background
    python examples/anomaly_table.py runs/fashion --background runs/background

Inside are test images of the run's own data. Outside are digits of scikit-learn, in a frame and
sharpened, as MNIST's are, or enlarged to the whole image; constant images; noise; the inside images
inverted and upside down; and emoji, in grey, where their font is (--font, or Debian's
fonts-noto-color-emoji). 1 is always told apart, 0.5 is chance, and below it
outside images look *more* usual than inside ones. Scores are calibrated on validation images.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit import GlowkitError, load
from glowkit.data import open_source
from glowkit.pictures.plots import paired_histograms
from glowkit.tasks import AnomalyDetector
from glowkit.tasks.anomalies import detection_figures
from glowkit.training import read_run


def digits(count: int) -> Tensor:
    """Digits of 8x8, from 0 to 1."""
    return open_source("digits").splits["train"].__getitems__(slice(0, count))[0].double() / 16


def enlarged_digits(side: int, count: int) -> Tensor:
    """As large as the image, and smooth."""
    large = F.interpolate(digits(count), (side, side), mode="bilinear")
    return (large * 255).round().to(torch.uint8)


def framed_digits(side: int, count: int) -> Tensor:
    """As MNIST has them: sharp strokes in the middle five sevenths of the image."""
    frame = round(side / 7)
    inner = (side - 2 * frame, side - 2 * frame)
    large = F.interpolate(digits(count), inner, mode="bicubic").clamp(0, 1)
    sharp = (3 * (large - 0.5) + 0.5).clamp(0, 1)
    return F.pad((sharp * 255).round(), (frame,) * 4).to(torch.uint8)


def grey_emoji(font: str, side: int, count: int) -> Tensor:
    """Emoji on black, by their luminance, as Fashion-MNIST's clothes are."""
    source = open_source(f"emoji:{font}" if font else "emoji", size=side)
    colours = source.splits["train"].__getitems__(slice(0, count))[0].double()
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    return 255 - (colours * weights).sum(1, keepdim=True).round().to(torch.uint8)


def outside_sets(inside: Tensor, font: str) -> dict[str, Tensor]:
    """Sets of images (N, 1, H, W) uint8 that are no clothes, by their names."""
    count, side = len(inside), inside.shape[-1]
    noise = torch.randint(0, 256, inside.shape, generator=torch.Generator().manual_seed(0))
    constants = torch.linspace(0, 255, count).round().to(torch.uint8)
    sets = {
        "digits, framed": framed_digits(side, count),
        "digits, large": enlarged_digits(side, count),
        "constants": constants[:, None, None, None].expand(inside.shape).contiguous(),
        "noise": noise.to(torch.uint8),
        "inverted": 255 - inside,
        "upside down": inside.flip(2),
    }
    try:
        sets["emoji"] = grey_emoji(font, side, count)
    except GlowkitError as error:
        print(f"without emoji: {error}\n")
    return sets


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--background", type=Path)
    parser.add_argument("--ensemble", type=Path, nargs="*", default=[])
    parser.add_argument("--count", type=int, default=200, help="images of each set")
    parser.add_argument("--reference", type=int, default=800, help="validation images")
    parser.add_argument("--font", default="", help="of emoji")
    parser.add_argument("--picture", type=Path, help="PNG to write: scores of framed digits")
    given = parser.parse_args()

    model = load(given.run)
    shape = model.shape or ()
    if len(shape) != 3 or shape[0] != 1 or shape[1] != shape[2] or model.levels != 256:
        raise SystemExit("this example is for a model of square grey images of 256 levels")
    splits = open_source(**read_run(given.run).data).splits
    reference, inside = (
        splits[name].__getitems__(slice(0, number))[0]
        for name, number in (("validation", given.reference), ("test", given.count))
    )
    detector = AnomalyDetector(
        model,
        reference,
        background=load(given.background) if given.background else None,
        ensemble=[load(each) for each in given.ensemble],
    )
    for name, why in detector.left_out.items():
        print(f"without {name}: {why}")
    usual = detector(inside, stream=1)
    names = list(usual.values)
    print(f"| outside ({given.count} images) | bits/dim |", " | ".join(names), "|")
    print("|---|---|" + "---|" * len(names))
    print(f"| inside: test split | {usual.cost.mean():.2f} |" + " |" * len(names))
    for number, (label, images) in enumerate(outside_sets(inside, given.font).items(), 2):
        found = detector(images, stream=number)
        cells = [
            f"{detection_figures(usual.values[name], found.values[name], resamples=1).auroc:.3f}"
            for name in names
        ]
        print(f"| {label} | {found.cost.mean():.2f} |", " | ".join(cells), "|", flush=True)
        if label == "digits, framed" and given.picture:
            panels = {
                name: {"test split": usual.values[name], label: found.values[name]}
                for name in names
            }
            given.picture.write_bytes(paired_histograms(panels))


if __name__ == "__main__":
    main()
