"""The path of points from noise to data, along the field of a continuous flow.

    glowkit train points:moons --preset matching-points --minutes 2 --out runs/moons
    python examples/path.py path.png runs/moons

Draws the same 4,000 points at six times between t = 0 and t = 1, in the scale of the field.
"""

import sys
from pathlib import Path

import torch

import glowkit
from glowkit.bijections import Integrate
from glowkit.pictures.plots import plane_image
from glowkit.pictures.sheet import save_png

POINTS = 4000
TIMES = 6


@torch.no_grad()
def main(picture: str, run: str) -> None:
    model = glowkit.load(Path(run) / "model")
    flow = next(module for module in model.modules() if isinstance(module, Integrate))
    noise = torch.randn(POINTS, 2, generator=torch.Generator().manual_seed(0))
    places = flow.path(noise)
    steps = [round(i * flow.steps / (TIMES - 1)) for i in range(TIMES)]
    panels = [(f"t = {step / flow.steps:.1f}", places[step]) for step in steps]
    save_png(plane_image(panels, half_side=3.0), Path(picture))


if __name__ == "__main__":
    main(*sys.argv[1:])
