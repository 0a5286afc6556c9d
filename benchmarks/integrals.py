"""Integrals of known value over many seeds: whether errors are honest, and how small.

    python -m benchmarks.integrals --cases pulls:camel,pulls:ring --seeds 200
    python -m benchmarks.integrals --cases camel:4,camel:8,circles,ring,box,gauss:16 --seeds 20

Each process has one thread, and takes one seed after another. Below the table stands whether each
bound is kept. Beside it vegas, with as many calls, where it is installed (pip install
'glowkit[integrate]').
"""

import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from glowkit import CubeConfig, GlowkitError
from glowkit.data.integrands import BenchmarkIntegrand, benchmark_integrand, of_pixels
from glowkit.tasks.integration import Integral, Integrand, Plane, integrate, vegas

SIDE = 128  # pixels of the photograph
FINE: dict[str, Any] = {"coupling": "quadratic", "bins": 64, "encoding": "one-blob", "blobs": 128}


@dataclass(frozen=True)
class Case:
    """An integrand, how often it may be called, and bounds of figures of all seeds.

    Bounds are by the names of `summary`'s figures: at least, at most.
    """

    integrand: str
    calls: int
    at_least: dict[str, float] = field(default_factory=dict)
    at_most: dict[str, float] = field(default_factory=dict)


HONEST = {"pull_std": 1.25, "pull_mean_size": 0.25}

CASES = {
    "pulls:camel": Case("camel:2", 20_000, {"pull_std": 0.8}, HONEST),
    "pulls:ring": Case("ring", 20_000, {"pull_std": 0.8}, HONEST),
    "camel:2": Case("camel:2", 600_000),
    "camel:4": Case(
        "camel:4", 800_000, {"effective": 0.88, "vegas_over": 1.5}, {"relative_error": 8e-4}
    ),
    "camel:8": Case(
        "camel:8",
        1_000_000,
        {"effective": 0.65, "vegas_over": 4, "smallest_share": 0.45},
        {"largest_share": 0.55},
    ),
    "camel:16": Case("camel:16", 4_000_000, {"smallest_share": 0.4}, {"worst_pull": 4}),
    "circles": Case("circles", 800_000, {}, {"relative_error": 2e-3, "worst_pull": 3}),
    "ring": Case("ring", 800_000, {"unweighting": 0.3}, {"worst_pull": 3}),
    "box": Case("box", 400_000, {}, {"relative_error": 1e-3, "worst_pull": 3}),
    "triangle": Case("triangle", 400_000, {}, {"relative_error": 1e-3, "worst_pull": 3}),
    "gauss:16": Case("gauss:16", 1_000_000, {}, {"worst_pull": 3}),
    "diagonal:4": Case("diagonal:4", 800_000, {}, {"worst_pull": 4}),
    "picture": Case("picture", 1_200_000, {}, {"kl": 0.03}),
}


def measure(name: str, seed: int) -> dict[str, Any]:
    """The figures of one seed of a case."""
    torch.set_num_threads(1)
    case = CASES[name]
    f = photograph() if case.integrand == "picture" else benchmark_integrand(case.integrand)
    generator, begun = torch.Generator().manual_seed(seed), time.monotonic()
    config = CubeConfig(2, width=128, **FINE) if name == "picture" else CubeConfig(f.dims)
    found = integrate(f, f.dims, calls=case.calls, model=config, generator=generator)
    seconds = time.monotonic() - begun
    figures = {
        "seconds": seconds,
        "value": found.value,
        "exact": f.exact,
        "relative_error": found.relative_error,
        "pull": (found.value - f.exact) / found.error,
        "effective": found.effective,
        "unweighting": found.unweighting,
        "chi2": found.chi2,
        "training_pull": (found.training.value - f.exact) / found.training.error,
    }
    if case.integrand.startswith("camel"):
        figures["share"] = _share_below(found)
    if name == "picture":
        plane = Plane(Integrand(f, 2, None), (SIDE, SIDE))
        figures["kl"] = plane.divergences(found.proposal).forward
        figures["reverse_kl"] = plane.divergences(found.proposal).reverse
    else:
        figures |= _of_vegas(f, case.calls, generator)
    return figures


def photograph() -> BenchmarkIntegrand:
    """The middle of a photograph that comes with scikit-learn, 128 pixels a side."""
    from PIL import Image, ImageOps
    from sklearn.datasets import load_sample_image

    image = Image.fromarray(load_sample_image("china.jpg")).convert("L")
    small = ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BICUBIC)
    return of_pixels(torch.tensor(list(small.getdata())).double().view(SIDE, SIDE) / 255)


def _share_below(found: Integral) -> float:
    """The share of the flow's points that are nearer to the first of two humps."""
    points = found.proposal.sample(50_000, generator=torch.Generator().manual_seed(0))
    return float((points.mean(1) < 0.5).double().mean())


def _of_vegas(f: BenchmarkIntegrand, calls: int, generator: torch.Generator) -> dict[str, float]:
    begun = time.monotonic()
    try:
        found = vegas(Integrand(f, f.dims, None), calls, generator)
    except GlowkitError:  # it is not installed
        return {}
    return {
        "vegas_relative_error": found.error / abs(found.value),
        "vegas_pull": (found.value - f.exact) / found.error,
        "vegas_seconds": time.monotonic() - begun,
    }


def summary(seeds: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over the seeds; of pulls mean, deviation and worst; extremes of shares."""

    def of(name: str, by: Callable[[list[float]], float]) -> float:
        values = [each[name] for each in seeds if name in each]
        return by(values) if values else math.nan

    pulls = [each["pull"] for each in seeds]
    return {
        "relative_error": of("relative_error", statistics.median),
        "pull_mean": statistics.fmean(pulls),
        "pull_mean_size": abs(statistics.fmean(pulls)),
        "pull_std": statistics.stdev(pulls) if len(pulls) > 1 else math.nan,
        "worst_pull": max(map(abs, pulls)),
        "effective": of("effective", statistics.median),
        "unweighting": of("unweighting", statistics.median),
        "chi2": of("chi2", statistics.median),
        "smallest_share": of("share", min),
        "largest_share": of("share", max),
        "kl": of("kl", max),
        "reverse_kl": of("reverse_kl", max),
        "vegas_relative_error": of("vegas_relative_error", statistics.median),
        "vegas_over": of("vegas_relative_error", statistics.median)
        / of("relative_error", statistics.median),
        "seconds": of("seconds", statistics.median),
    }


def verdicts(case: Case, figures: dict[str, float]) -> list[str]:
    """A line for each bound: what was asked, what was found, yes or NO; "?" where not measured."""
    lines = []
    bounds = [(name, "≥", bound) for name, bound in case.at_least.items()]
    bounds += [(name, "≤", bound) for name, bound in case.at_most.items()]
    for name, sign, bound in bounds:
        value = figures[name]
        kept = value >= bound if sign == "≥" else value <= bound
        word = "?" if math.isnan(value) else "yes" if kept else "NO"
        lines.append(f"{name} {sign} {bound:g}: {value:.3g} {word}")
    return lines


COLUMNS = {
    "rel. error": "relative_error",
    "pull": "pull_mean",
    "±": "pull_std",
    "worst": "worst_pull",
    "ESS/N": "effective",
    "unw. 99.9 %": "unweighting",
    "χ²": "chi2",
    "vegas": "vegas_relative_error",
    "s": "seconds",
}


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: a row a case, medians over its seeds; then the bounds."""
    lines = ["| f | calls | seeds | " + " | ".join(COLUMNS) + " |"]
    lines.append("|---" * (3 + len(COLUMNS)) + "|")
    below = []
    for name, seeds in results.items():
        figures = summary(seeds)
        values = (figures[key] for key in COLUMNS.values())
        cells = ["" if math.isnan(value) else f"{value:.3g}" for value in values]
        lines.append(f"| {name} | {CASES[name].calls:,} | {len(seeds)} | {' | '.join(cells)} |")
        below += [f"{name}: {line}" for line in verdicts(CASES[name], figures)]
    return "\n".join([*lines, "", *below])


def main(
    cases: Annotated[str, typer.Option(help=f"With commas, of {', '.join(CASES)}.")],
    seeds: Annotated[int, typer.Option(min=1, help="Of each case.")] = 1,
    first: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="At a time.")] = 1,
    out: Annotated[Path | None, typer.Option(help="JSON of every seed's figures.")] = None,
) -> None:
    """Integrate every case with every seed, and print a table."""
    chosen = cases.split(",")
    for name in chosen:
        if name not in CASES:
            raise GlowkitError(f"there is no case {name!r}; choose of {', '.join(CASES)}")
    results: dict[str, list[dict[str, Any]]] = {}
    with get_context("spawn").Pool(processes) as pool:
        for name in chosen:
            numbers = range(first, first + seeds)
            results[name] = list(pool.imap(partial(measure, name), numbers, chunksize=1))
            print(table({name: results[name]}), flush=True)
            if out is not None:
                about = {each: asdict(CASES[each]) for each in results}
                out.write_text(json.dumps({"cases": about, "seeds": results}, indent=1))
    print(f"\n{table(results)}")


if __name__ == "__main__":
    typer.run(main)
