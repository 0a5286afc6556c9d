"""Searches of synthetic events over many seeds, beside the best possible score.

    python -m benchmarks.resonance signal --seeds 5      # max SIC, 250 events of signal (S/B 2.4 %)
    python -m benchmarks.resonance weak --seeds 10       # the same with 60 (S/B 0.6 %)
    python -m benchmarks.resonance none --seeds 20       # no signal: significances of what is found
    python -m benchmarks.resonance fit --seeds 100       # the same without a cut, and cut by lot
    python -m benchmarks.resonance closure --seeds 5     # can background and its samples be told?

A process a seed, of one thread each; `--processes` at a time. Prints a row a seed, then the figures
that docs/resonance.md has, and exits with 1 where one is not as it should be.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Row = dict[str, float]


def signal(seed: int, events: int = 250, methods: str = "cathode anode cwola density") -> Row:
    """Max SIC of each method, of the idealised one and of the optimum."""
    import torch

    from glowkit.cli.resonance import LEAST_OF_TEST, TEST_BACKGROUND, TEST_SIGNAL
    from glowkit.data.resonance import WINDOW, draw_background, optimal_score, synthetic
    from glowkit.tasks.resonance import (
        hunt_in,
        idealised,
        regions_of,
        significance_improvement,
    )
    from glowkit.tasks.resonance.cathode import template_size

    generator = torch.Generator().manual_seed(seed)
    data = synthetic(generator, signal=events)
    regions = regions_of(data.x, data.m, WINDOW, data.names, generator)
    test = synthetic(generator, TEST_BACKGROUND, TEST_SIGNAL, WINDOW)
    true, _ = draw_background(template_size(regions), generator, WINDOW)
    assert test.truth is not None
    scores = {"optimal": optimal_score(test.x, test.m)}
    scores["idealised"] = idealised(regions, regions.generator(2), true)(test.x, test.m)
    for name in methods.split():
        scores[name] = hunt_in(regions, name).score(test.x, test.m)
    return {
        name: significance_improvement(each, test.truth, LEAST_OF_TEST).max_sic
        for name, each in scores.items()
    }


def weak(seed: int) -> Row:
    """The same with 60 events of signal."""
    return signal(seed, 60)


def none(seed: int) -> Row:
    """Significances after each cut, where there is no signal."""
    import torch

    from glowkit.data.resonance import WINDOW, synthetic
    from glowkit.tasks.resonance import hunt_in, regions_of

    generator = torch.Generator().manual_seed(1000 + seed)
    data = synthetic(generator, signal=0)
    regions = regions_of(data.x, data.m, WINDOW, data.names, generator)
    return {
        f"{name} {100 * excess.efficiency:g} %": excess.significance
        for name in ("cathode", "anode", "cwola")
        for excess in hunt_in(regions, name).excesses[1:]
    }


def fit(seed: int) -> Row:
    """Significances of the fit alone, where there is no signal: of all events, and 1 % by lot."""
    import torch

    from glowkit.data.resonance import WINDOW, synthetic
    from glowkit.tasks.resonance.significance import bump_hunt

    generator = torch.Generator().manual_seed(1000 + seed)
    m = synthetic(generator, signal=0).m
    lot = torch.rand(len(m), generator=generator)
    return {
        name: bump_hunt(m, lot < share, WINDOW, share, 0.0).significance
        for name, share in {"no cut": 1.0, "by lot 1 %": 0.01}.items()
    }


def closure(seed: int) -> Row:
    """AUC of a classifier of true background against samples of the flow, in and beside the window.

    Trained on one half of 100,000 of either kind, and asked about the other.
    """
    import torch

    from glowkit.data.resonance import WINDOW, draw_background, synthetic
    from glowkit.tasks.resonance import regions_of

    generator = torch.Generator().manual_seed(2000 + seed)
    data = synthetic(generator, signal=0)
    regions = regions_of(data.x, data.m, WINDOW, data.names, generator)
    x, m = draw_background(300_000, generator)
    outside = (m < WINDOW[0]) | (m > WINDOW[1])
    places = {
        "in the window": draw_background(100_000, generator, WINDOW),
        "beside it": (x[outside][:100_000], m[outside][:100_000]),
    }
    return {name: _told(regions, *where, generator) for name, where in places.items()}


def _told(regions: Any, x: Any, m: Any, generator: Any) -> float:
    import torch
    from sklearn.metrics import roc_auc_score

    from glowkit.tasks.resonance.classifier import boosted

    kept = regions.within(x)
    x, m = x[kept], m[kept]
    flow = regions.background[0]
    drawn = regions.scale.undo(flow.sample(regions.scale.context(m), generator))
    both = torch.cat([x, drawn])
    true = torch.arange(len(both)) < len(x)
    half = torch.rand(len(both), generator=generator) < 0.5
    weights = torch.ones(int(half.sum()))
    model = boosted(both[half], true[half], weights, generator)
    return float(roc_auc_score(true[~half], model.decision_function(both[~half].numpy())))


@dataclass(frozen=True)
class Demand:
    """A figure over all seeds, in words, and whether it is as it should be."""

    words: str
    value: float
    right: bool


def _ratios(rows: list[Row], name: str, of: str) -> list[float]:
    return [row[name] / row[of] for row in rows]


def _at_least(rows: list[Row], name: str, of: str, least: float) -> Demand:
    value = statistics.median(_ratios(rows, name, of))
    return Demand(f"median of {name} / {of}, at least {least}", value, value >= least)


def judge_signal(rows: list[Row]) -> list[Demand]:
    raw = max(row["density"] for row in rows)
    return [
        _at_least(rows, "idealised", "optimal", 0.85),
        _at_least(rows, "cathode", "optimal", 0.75),
        _at_least(rows, "anode", "optimal", 0.6),
        Demand("highest max SIC of density, at most 3", raw, raw <= 3),
    ]


def judge_weak(rows: list[Row]) -> list[Demand]:
    return [_at_least(rows, "cathode", "idealised", 0.5)]


def judge_none(rows: list[Row]) -> list[Demand]:
    demands = []
    for name in (name for name in rows[0] if name.endswith((" 1 %", "no cut"))):
        z = [row[name] for row in rows]
        mean, highest = statistics.mean(z), max(z)
        demands.append(Demand(f"{name}: mean Z within 0.3 of 0", mean, abs(mean) <= 0.3))
        if len(z) > 1:
            spread = statistics.stdev(z)
            words = f"{name}: standard deviation within 0.7 and 1.3"
            demands.append(Demand(words, spread, 0.7 <= spread <= 1.3))
        demands.append(Demand(f"{name}: highest Z at most 4", highest, highest <= 4))
    return demands


def judge_closure(rows: list[Row]) -> list[Demand]:
    limits = {"in the window": 0.52, "beside it": 0.51}
    worst = {name: max(row[name] for row in rows) for name in limits}
    return [
        Demand(f"highest AUC {name}, at most {limit}", worst[name], worst[name] <= limit)
        for name, limit in limits.items()
    ]


CASES: dict[str, tuple[Callable[[int], Row], Callable[[list[Row]], list[Demand]]]] = {
    "signal": (signal, judge_signal),
    "weak": (weak, judge_weak),
    "none": (none, judge_none),
    "fit": (fit, judge_none),
    "closure": (closure, judge_closure),
}


def _timed(task: tuple[str, int]) -> tuple[int, Row, float]:
    import torch

    torch.set_num_threads(1)
    case, seed = task
    start = time.perf_counter()
    return seed, CASES[case][0](seed), time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the processes when they import torch
    tasks = [(given.case, given.first_seed + i) for i in range(given.seeds)]
    rows: list[Row] = []
    with multiprocessing.get_context("spawn").Pool(given.processes, maxtasksperchild=1) as pool:
        for seed, row, seconds in pool.imap_unordered(_timed, tasks, chunksize=1):
            if not rows:
                print("seed  " + "  ".join(row), flush=True)
            cells = [f"{value:{len(name)}.3f}" for name, value in row.items()]
            print(f"{seed:4}  " + "  ".join(cells) + f"  ({seconds:.0f} s)", flush=True)
            rows.append(row)
    print()
    for name in rows[0]:
        values = [row[name] for row in rows]
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        median = statistics.median(values)
        print(f"{name}: mean {statistics.mean(values):.3f}{spread}, median {median:.3f}")
    if "optimal" in rows[0]:
        for name in rows[0]:
            ratios = sorted(_ratios(rows, name, "optimal"))
            print(f"{name} / optimal: median {statistics.median(ratios):.2f}, from {ratios[0]:.2f}")
    demands = CASES[given.case][1](rows)
    for demand in demands:
        print(f"{'right' if demand.right else 'WRONG'}: {demand.words}: {demand.value:.3f}")
    return 0 if all(demand.right for demand in demands) else 1


if __name__ == "__main__":
    sys.exit(main())
