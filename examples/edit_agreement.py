"""Does an edit change what it names? A classifier of real images judges edited held-out ones.

    glowkit train digits --epochs 30 --batch-size 128 --learning-rate 2e-3 --weight-decay 1
    python examples/edit_agreement.py runs/digits-glow-tiny

    glowkit train emoji --preset glow-emoji --batch-size 32 --learning-rate 2e-3 --minutes 12
    python examples/edit_agreement.py runs/emoji-glow-emoji --attribute dark-skin

With --attribute, test images that lack it are given it and the other way round; without, test
images of each class are turned into every other class. Prints, for growing amounts, how many of
the edited images the classifier sees as asked, and how many have bits/dim below the 99th percentile
of real test images. The amount with the most of both on validation images is marked.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from sklearn.svm import SVC

import glowkit
from glowkit.data import attributes_of, open_source, requantize
from glowkit.tasks import Attributes, edit, join, logistic_directions, mean_directions
from glowkit.training import read_run

AMOUNTS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--attribute", help="one with a positive and a negative side")
    parser.add_argument("--method", choices=("mean", "logistic"), default="mean")
    asked = parser.parse_args()

    model = glowkit.load(asked.run / "model")
    source = open_source(**read_run(asked.run).data)
    levels = model.config.pixel_levels

    def split(name: str) -> tuple[torch.Tensor, np.ndarray]:
        """Images, and the kind of each: its class, or 1 and 0 for has and lacks."""
        images, _ = source.splits[name].__getitems__(slice(None))
        images = requantize(images, source.pixel_levels, levels)
        table = attributes_of(source, name)
        if asked.attribute is None:
            return images, table.values.argmax(1)
        value = table.values[:, table.names.index(asked.attribute)]
        known = value != 0
        return images[torch.from_numpy(known)], (value[known] > 0).astype(int)

    images, kinds = split("train")
    judge = SVC(C=10).fit(images.flatten(1) / levels, kinds)
    names = [str(kind) for kind in np.unique(kinds)]
    values = torch.from_numpy(np.where(kinds[:, None] == np.unique(kinds), 1, -1))
    find = {"mean": mean_directions, "logistic": logistic_directions}[asked.method]
    directions = find(zip(latents(model, images), values.split(100), strict=True))
    n = len(names)
    known = Attributes(tuple(names), directions, (0,) * n, (0,) * n, (), torch.zeros(101), "")

    test, test_kinds = split("test")
    limit = float(bits(model, test).quantile(0.99))
    right = judge.score(test.flatten(1) / levels, test_kinds)
    print(f"the classifier is right about {right:.1%} of {len(test)} real test images")
    print(f"99% of them have less than {limit:.3f} bits/dim")
    chosen, best = AMOUNTS[0], -1.0
    for part in ("validation", "test"):
        held_out, theirs = split(part)
        for amount in AMOUNTS:
            seen, real = judged(model, known, judge, held_out, theirs, amount, limit)
            if part == "validation":
                if (seen & real).mean() > best:
                    chosen, best = amount, (seen & real).mean()
                continue
            mark = "  <- best on validation images" if amount == chosen else ""
            print(
                f"amount {amount:4.2f}: {seen.mean():6.1%} of {len(seen)} edits seen as asked, "
                f"{real.mean():6.1%} below the limit, {(seen & real).mean():6.1%} both{mark}"
            )


@torch.no_grad()
def latents(model: glowkit.Density, images: torch.Tensor) -> Iterator[torch.Tensor]:
    for batch in images.split(100):
        yield join(model.encode(batch, generator=glowkit.MIDPOINT)[0])


@torch.no_grad()
def bits(model: glowkit.Density, images: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.cat(
        [glowkit.bits_per_dim(model, batch, generator=generator) for batch in images.split(100)]
    )


def judged(
    model: glowkit.Density,
    known: Attributes,
    judge: SVC,
    images: torch.Tensor,
    kinds: np.ndarray,
    amount: float,
    limit: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Of every image turned into every other kind: is it seen as that, is it as likely as real."""
    seen, real = [], []
    for old, new in ((a, b) for a in range(len(known.names)) for b in range(len(known.names))):
        chosen = images[torch.from_numpy(kinds == old)]
        if old == new or not len(chosen):
            continue
        # Half of each where there are two kinds, whose directions are one and its opposite.
        share = amount / 2 if len(known.names) == 2 else amount
        amounts = {known.names[old]: -share, known.names[new]: share}
        edited = torch.cat([edit(model, batch, known, amounts) for batch in chosen.split(100)])
        seen.append(judge.predict(edited.flatten(1) / model.config.pixel_levels) == new)
        real.append((bits(model, edited) < limit).numpy())
    return np.concatenate(seen), np.concatenate(real)


if __name__ == "__main__":
    main()
