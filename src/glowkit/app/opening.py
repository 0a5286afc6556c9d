"""What the page opens on: which attributes can be trusted, and the edit that shows them at once."""

import math

from glowkit.app.chosen import choose
from glowkit.app.exhibit import Exhibit
from glowkit.tasks import Attributes

SHOWN = 6  # sliders; the others are folded
LEAST_AUROC = 0.7
LEAST_IMAGES = 20  # that have it, and that lack it: of fewer a direction is chance
OPENING_AMOUNT = 0.6  # about what takes an image that lacks an attribute to one that has it


def ranked(attributes: Attributes) -> tuple[list[str], list[str]]:
    """The names that can be trusted, at most `SHOWN`, best first, and the others, best first.

    >>> import torch
    >>> areas, counts = (0.9, 0.99, math.nan), (50, 50, 3)
    >>> directions, bits = torch.eye(3), torch.zeros(101)
    >>> ranked(Attributes(("a", "b", "c"), directions, counts, counts, areas, bits, "mean"))
    (['b', 'a'], ['c'])
    """
    known = {
        name: (-1.0 if math.isnan(area) else area, min(has, lacks))
        for name, area, has, lacks in zip(
            attributes.names,
            attributes.auroc,
            attributes.positives,
            attributes.negatives,
            strict=True,
        )
    }
    best_first = sorted(known, key=lambda name: known[name], reverse=True)
    trusted = [
        name
        for name in best_first
        if known[name][0] >= LEAST_AUROC and known[name][1] >= LEAST_IMAGES
    ][:SHOWN]
    return trusted, [name for name in best_first if name not in trusted]


def opening(exhibit: Exhibit, attributes: Attributes, names: list[str]) -> str:
    """Which of the attributes named the first image lacks most: giving it that shows something.

    An attribute is lacked by as much of its direction as the image is short of the mean of those
    shown, z̄ · d − z · d in amounts |d|².
    """
    latents = choose(exhibit, exhibit.images, exhibit.contexts).latents
    directions = attributes.directions[[attributes.names.index(name) for name in names]]
    directions = directions.to(latents)
    held = latents @ directions.T / directions.square().sum(1)
    short = held.mean(0) - held[0]
    return names[int(short.argmax())]
