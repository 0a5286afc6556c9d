"""Filaments between the modes of eight Gaussians, which a continuous map of one cannot avoid.

    glowkit train points:8gaussians --preset realnvp-points --minutes 2 --out runs/realnvp
    glowkit train points:8gaussians --preset glow-points --minutes 2 --out runs/glow
    python examples/filaments.py filaments.png runs/realnvp runs/glow

Prints two shares of each model's samples, and draws √p, where bridges show. Farther than four
deviations from every centre lies what has strayed. Neighbouring centres are only 5.4 deviations
apart, so the bridges between them are within that; they show as samples within half a deviation of
the middle of two neighbours.
"""

import sys
from pathlib import Path

import torch

import glowkit
from glowkit.data import open_source
from glowkit.pictures.plots import density_panel, plane_image
from glowkit.pictures.sheet import save_png
from glowkit.tasks import share_between_modes

SAMPLES = 200_000
STRAYED, BRIDGE = 4.0, 0.5  # deviations


def main(picture: str, *runs: str) -> None:
    source = open_source("points:8gaussians")
    centres = torch.from_numpy(source.density.centres).float()
    middles, std = (centres + centres.roll(1, 0)) / 2, source.density.std
    panels = []
    for name, points in [("data", source.splits["test"].points), *map(samples_of, runs)]:
        strayed, strayed_error = share_between_modes(points, centres, STRAYED * std)
        elsewhere, error = share_between_modes(points, middles, BRIDGE * std)
        print(
            f"{name:12} {100 * strayed:.3f} ± {100 * strayed_error:.3f} % strayed,"
            f" {100 * (1 - elsewhere):.3f} ± {100 * error:.3f} % on bridges"
        )
    for run in runs:
        panels.append((Path(run).name, density_panel(glowkit.load(Path(run) / "model"))[1]))
    save_png(plane_image(panels, half_side=1.2), Path(picture))


def samples_of(run: str) -> tuple[str, torch.Tensor]:
    model = glowkit.load(Path(run) / "model")
    generator = torch.Generator().manual_seed(0)
    return Path(run).name, model.sample(SAMPLES, generator=generator)


if __name__ == "__main__":
    main(*sys.argv[1:])
