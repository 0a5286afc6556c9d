"""Flows of points at equal processor time, or equal steps: KL, bridges between modes, pictures.

    python -m benchmarks.points augmented --data checkerboard,8gaussians --seconds 10
    python -m benchmarks.points symmetric --data 8gaussians --steps 300
    python -m benchmarks.points planar --data moons --steps 500 --rate 0.02 --picture planar.png

One thread; AdamW, 512 points a step, a warm-up of 50 steps, a cosine, averaged weights. The clock
is the processor time of the process, so that a busy machine takes longer and gets as far.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

import glowkit
from benchmarks.budgeted import descend
from examples.surjections import FoldedConfig
from glowkit.data import open_source
from glowkit.data.toy import GaussianMixture, PointSource
from glowkit.pictures.plots import density_panel, plane_image
from glowkit.pictures.sheet import save_png
from glowkit.tasks import share_between_modes

BATCH, WARM_UP, AVERAGED, DECAY, CLIP = 512, 50, 0.995, 1e-4, 5.0
DRAWS, POINTS, SAMPLES = 32, 2048, 20_000
MODES = 8  # more are those of a curve

Points = glowkit.PointsConfig
AFFINE: dict[str, Any] = {"steps": 16, "width": 32, "coupling": "affine"}
INDEXED: dict[str, Any] = {**AFFINE, "steps": 8, "augmentation": "indexed"}


def _added(features: int, **settings: Any) -> glowkit.PointsConfig:
    return Points(**{**AFFINE, "augmented_features": features, **settings})


SUBJECTS: dict[str, dict[str, Any]] = {
    "augmented": {
        "nothing added": Points(**AFFINE),
        **{f"VFlow + {n}": _added(n, augmentation="variational") for n in (1, 2)},
        **{f"ANF + {n}": _added(n, permutation="reverse") for n in (1, 2)},
        **{f"CIF + {n}": _added(n, **INDEXED) for n in (1, 2)},
    },
    "symmetric": {
        "glow-points": "glow-points",
        "absolute": Points(steps=32, width=32, coupling="affine", preprocessing="absolute"),
    },
    "folded": {"glow-points": "glow-points", "folded": FoldedConfig()},
    "planar": {f"planar, {n}": Points(coupling="planar", steps=n) for n in (2, 8, 32)},
    "radial": {f"radial, {n}": Points(coupling="radial", steps=n) for n in (2, 8, 32)},
}


@dataclass(frozen=True)
class Budget:
    """Processor seconds of training, or steps where these are given."""

    seconds: float
    steps: int | None

    def spent(self, steps: int, seconds: float) -> float:
        return seconds / self.seconds if self.steps is None else steps / self.steps


def fit(
    config: Any, points: Tensor, budget: Budget, rate: float, seed: int
) -> tuple[glowkit.Density, int, float]:
    """A model trained on points; its steps, and their processor seconds."""
    torch.manual_seed(seed)
    model = glowkit.build(config)
    glowkit.initialize(model, points[:4096])
    optimizer = torch.optim.AdamW(model.train().parameters(), rate, weight_decay=DECAY)
    order = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        rows = torch.randint(len(points), (BATCH,), generator=order)
        return -model.log_prob(points[rows]).mean()

    def rate_at(step: int, done: float) -> float:
        falling = 0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2
        return rate * min(1, (step + 1) / WARM_UP) * falling

    steps, used = descend(model, optimizer, loss, rate_at, budget.spent, CLIP, AVERAGED)
    return model.eval(), steps, used


@torch.no_grad()
def kl_of(model: glowkit.Density, source: PointSource) -> dict[int, tuple[float, float]]:
    """KL in nats, paired, and its standard error: by one draw and, of a bound, by many."""
    points = source.splits["test"].points[:POINTS]
    log_p = torch.from_numpy(source.density.log_prob(points.double().numpy()))
    generator = torch.Generator().manual_seed(0)
    counts = (1, DRAWS) if model.log_p_kind == "bound" else (1,)
    draws = torch.stack(
        [model.log_prob(points, generator=generator).double() for _ in range(counts[-1])]
    )
    found = {}
    for count in counts:
        ratio = log_p - (draws[:count].logsumexp(0) - math.log(count))
        found[count] = (ratio.mean().item(), ratio.std().item() / math.sqrt(len(ratio)))
    return found


def bridges(model: glowkit.Density, source: PointSource) -> str:
    """Which shares of samples are far from all modes, or between two; "" where there are none."""
    if not isinstance(source.density, GaussianMixture) or len(source.density.centres) > MODES:
        return ""
    modes, std = torch.from_numpy(source.density.centres).float(), source.density.std
    drawn = model.sample(SAMPLES, generator=torch.Generator().manual_seed(0))
    strayed, error = share_between_modes(drawn, modes, 4 * std)
    middles = (modes + modes.roll(1, 0)) / 2
    elsewhere, other = share_between_modes(drawn, middles, std / 2)
    between = f"{100 * (1 - elsewhere):.2f} ± {100 * other:.2f} % between"
    return f"; {100 * strayed:.3f} ± {100 * error:.3f} % strayed, {between}"


def main(
    subject: Annotated[str, typer.Argument(help=f"{', '.join(SUBJECTS)}.")],
    data: Annotated[str, typer.Option(help="Densities, with commas.")] = "checkerboard",
    seconds: Annotated[float, typer.Option(help="Processor time a model.")] = 30.0,
    steps: Annotated[int | None, typer.Option(help="Instead of seconds.")] = None,
    rate: Annotated[float, typer.Option(help="Peak of the learning rate.")] = 5e-3,
    seeds: Annotated[int, typer.Option(help="Models of each.")] = 1,
    picture: Annotated[Path | None, typer.Option(help="PNG of the densities learned.")] = None,
) -> None:
    """Train every model of a subject on every density, and print a line for each."""
    if subject not in SUBJECTS:
        raise glowkit.GlowkitError(f"{subject} does not exist; choose one of {', '.join(SUBJECTS)}")
    torch.set_num_threads(1)
    panels = []
    for name in data.split(","):
        source = open_source(f"points:{name}")
        assert isinstance(source, PointSource)
        points = source.splits["train"].points
        for title, config in SUBJECTS[subject].items():
            for seed in range(seeds):
                model, taken, used = fit(config, points, Budget(seconds, steps), rate, seed)
                kl = ", ".join(
                    f"{mean:.4f} ± {error:.4f} ({count})"
                    for count, (mean, error) in kl_of(model, source).items()
                )
                size = sum(parameter.numel() for parameter in model.parameters())
                print(
                    f"{name:12} {title:14} {size:6} parameters"
                    f" {taken:5} steps {used:5.1f} s  KL {kl}{bridges(model, source)}",
                    flush=True,
                )
            if picture is not None:
                panels.append((title, density_panel(model)[1]))
    if picture is not None:
        half_side = 1.1 * float(points[:5000].abs().max())
        save_png(plane_image(panels, half_side), picture)


if __name__ == "__main__":
    typer.run(main)
