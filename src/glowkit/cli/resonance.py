"""`glowkit resonance`: search a spectrum for a resonance, without labels."""

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glowkit.cli.common import JSON, SEED, bar, check_page, refuse_given, show_json
from glowkit.cli.resonance_findings import Findings, figures_of, scan_text, text_of, title_of
from glowkit.cli.speech import QUIET, say, show, warn
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    import torch

    from glowkit.data.resonance import Events
    from glowkit.tasks.resonance import Regions, Scan

SYNTHETIC = "synthetic"
TEST_BACKGROUND, TEST_SIGNAL = 200_000, 20_000
"""Fresh synthetic events in the window, which scores are judged by."""

LEAST_OF_TEST = TEST_BACKGROUND // 1000
"""Events of background that a cut must keep of those: a thousandth, to 7 %."""


def resonance(
    data: Annotated[
        str, typer.Argument(metavar="FILE|synthetic", help="Events: .csv, .npy or .h5.")
    ],
    mass: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The resonant variable.")
    ] = None,
    signal: Annotated[
        str | None, typer.Option(metavar="FROM:TO", help="The window of it to search.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="Of cathode, anode, cwola and density, with commas.")
    ] = "cathode,anode,cwola",
    features: Annotated[
        str | None,
        typer.Option(metavar="COLUMNS", help="With commas; by default all other columns."),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="1 for signal, 0 not; only to judge the scores by."),
    ] = None,
    inject: Annotated[
        int | None, typer.Option(min=0, help="Synthetic events of signal; 250 by default.")
    ] = None,
    within: Annotated[
        str | None,
        typer.Option("--range", metavar="FROM:TO", help="Leave out events of other masses."),
    ] = None,
    scan: Annotated[
        bool, typer.Option("--scan", help="Search windows all over the range, each anew.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("resonance.html"),
    scores: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write every event's scores too.")
    ] = None,
    seed: Annotated[int, SEED] = 0,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Search a window of a mass spectrum for signal of unknown kind, against the events beside it.

    No labels are used: CATHODE, ANODE and CWoLa hunting score how the window's events differ from
    background; cuts on the score show as an excess over a smooth spectrum. `synthetic` has a known
    truth, so that scores are judged beside the best possible one.

    Example: `glowkit resonance events.csv --mass mjj --signal 3.3:3.7 --out resonance.html`
    """
    import torch

    from glowkit.cli.resonance_page import write_page
    from glowkit.tasks.resonance import regions_of

    check_page(out)
    methods = _methods(method)
    generator = torch.Generator().manual_seed(seed)
    events, window = _open(data, mass, signal, features, truth, inject, generator)
    rows = torch.arange(len(events))
    if within is not None:
        events, rows = _limited(events, *_ends("--range", within))
    regions = regions_of(events.x, events.m, window, events.names, generator)
    found = Findings(data, events, rows, regions, seed)
    _say_dropped(regions)
    _hunt(found, methods)
    _judge(found, generator)
    if scan:
        found.scan = methods[0], _scan(found, methods[0], generator)
    if scores is not None:
        _write_scores(found, scores)
    write_page(found, out)
    if as_json:
        paths = {"path": str(out), "scores_path": None if scores is None else str(scores)}
        show_json(figures_of(found) | paths)
    else:
        _print(found)
        say(f"page: {out}")


def _methods(words: str) -> list[str]:
    from glowkit.tasks.resonance import METHODS

    chosen = [word.strip() for word in words.split(",")]
    for word in chosen:
        if word not in METHODS:
            raise GlowkitError(f"there is no method {word!r}; choose of {', '.join(METHODS)}")
    if len(set(chosen)) < len(chosen):
        raise GlowkitError(f"--method {words} names one twice; leave one of them out")
    return chosen


def _open(
    data: str,
    mass: str | None,
    signal: str | None,
    features: str | None,
    truth: str | None,
    inject: int | None,
    generator: "torch.Generator",
) -> "tuple[Events, tuple[float, float]]":
    from glowkit.data.events import read_events
    from glowkit.data.resonance import SIGNAL_EVENTS, WINDOW, synthetic

    if data == SYNTHETIC:
        refuse_given(
            "synthetic events have one mass, four features and a known truth",
            mass=mass if mass != "m" else None,
            features=features,
            truth=truth,
        )
        count = SIGNAL_EVENTS if inject is None else inject
        window = WINDOW if signal is None else _ends("--signal", signal)
        return synthetic(generator, signal=count), window
    refuse_given("signal is put into synthetic events only", inject=inject)
    if mass is None or signal is None:
        raise GlowkitError(
            f"a search of {data} needs --mass COLUMN and --signal FROM:TO, where to look"
        )
    chosen = None if features is None else [word.strip() for word in features.split(",")]
    window = _ends("--signal", signal)
    return read_events(Path(data), mass, chosen, truth), window


def _ends(option: str, text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high)):
        raise GlowkitError(f"{option} takes two numbers, such as 0.45:0.55, not {text}")
    return low, high


def _limited(events: "Events", low: float, high: float) -> "tuple[Events, torch.Tensor]":
    """The events of these masses, and which they were."""
    from dataclasses import replace

    kept = ~((events.m < low) | (events.m > high))  # NaN stays, to be refused
    if not kept.any():
        raise GlowkitError(f"no event has {events.mass} in --range {low:g}:{high:g}; widen it")
    truth = None if events.truth is None else events.truth[kept]
    limited = replace(events, x=events.x[kept], m=events.m[kept], truth=truth)
    return limited, kept.nonzero().flatten()


def _say_dropped(regions: "Regions") -> None:
    inside, outside = regions.dropped
    if inside:
        warn(
            f"note: {inside} event(s) in the window with a feature beyond all of the side bands'"
            " are left out: no background can be foretold there"
        )
    if outside > len(regions.names) * 2:  # more than the extremes themselves
        warn(
            f"note: {outside} events of the side bands share their extremes' values, and are left"
            " out: is a feature clipped, or one of few values?"
        )


def _hunt(found: Findings, methods: list[str]) -> None:
    from glowkit.tasks.resonance import hunt_in

    for name in bar(methods, "search"):
        found.hunts[name] = hunt_in(found.regions, name)


def _judge(found: Findings, generator: "torch.Generator") -> None:
    """Fill in the curves of significance improvement, where the truth is known."""
    from glowkit.tasks.resonance import significance_improvement
    from glowkit.tasks.resonance.significance import LEAST_BACKGROUND

    events, regions = found.events, found.regions
    if found.data == SYNTHETIC:
        _judge_synthetic(found, generator)
    elif events.truth is not None:
        own = (events.m > regions.window[0]) & (events.m < regions.window[1])
        truth, scored = events.truth[own], regions.within(events.x[own])
        signal, background = int((truth & scored).sum()), int((~truth & scored).sum())
        if not signal or background < LEAST_BACKGROUND:
            warn(
                f"note: the window holds {signal} events of signal and {background} of background"
                " by --truth, too few to judge scores by"
            )
            return
        found.judged = int((~truth).sum()), LEAST_BACKGROUND
        for name, hunt in found.hunts.items():
            found.curves[name] = significance_improvement(hunt.scores[own], truth)


def _judge_synthetic(found: Findings, generator: "torch.Generator") -> None:
    from glowkit.data.resonance import PEAK, draw_background, optimal_score, synthetic
    from glowkit.tasks.resonance import hunt_in, idealised, significance_improvement
    from glowkit.tasks.resonance.cathode import template_size
    from glowkit.tasks.resonance.classifier import supervised

    regions = found.regions
    low, high = regions.window
    if not low < PEAK < high:  # no signal to be told from background
        return
    test = synthetic(generator, TEST_BACKGROUND, TEST_SIGNAL, regions.window)
    assert test.truth is not None
    found.judged = TEST_BACKGROUND, LEAST_OF_TEST
    true, _ = draw_background(template_size(regions), generator, regions.window)
    hunts = found.hunts | {
        "idealised": hunt_in(regions, lambda regions, own: idealised(regions, own, true))
    }
    every = {name: hunt.score(test.x, test.m) for name, hunt in bar(list(hunts.items()), "scores")}
    labelled = synthetic(generator, TEST_BACKGROUND, TEST_SIGNAL, regions.window)
    assert labelled.truth is not None
    every["supervised"] = supervised(labelled.x, labelled.truth, generator)(test.x)
    every["optimal"] = optimal_score(test.x, test.m)
    for name, scores in every.items():
        found.curves[name] = significance_improvement(scores, test.truth, LEAST_OF_TEST)


def _scan(found: Findings, method: str, generator: "torch.Generator") -> "Scan":
    from glowkit.tasks.resonance import scan
    from glowkit.tasks.resonance.hunting import scan_windows
    from glowkit.tasks.resonance.sideband import LEAST_EVENTS

    events = found.events
    windows = scan_windows(events.m, found.regions.window, 2 * LEAST_EVENTS)
    return scan(events.x, events.m, bar(windows, "scan"), method, generator, events.names)


def _print(found: Findings) -> None:
    regions = found.regions
    low, high = regions.window
    for name, hunt in found.hunts.items():
        show(
            f"{name}: events in {low:g}:{high:g} beside a fit of the rest",
            {title_of(e.efficiency): text_of(e) for e in hunt.excesses},
        )
    if found.curves:
        of, least = found.judged
        show(
            f"max SIC, the factor that the best cut gains in S/√B, of {of:,} events of background,"
            f" cuts that keep {least} or more",
            {
                name: f"{curve.max_sic:.1f} ± {curve.standard_error:.1f}"
                f" at ε_S {curve.best_efficiency:.2f}"
                for name, curve in found.curves.items()
            },
        )
    if found.scan is not None:
        say(scan_text(found.scan[1]))


def _write_scores(found: Findings, path: Path) -> None:
    """A line for each event, and its row in the file."""
    from glowkit.system.files import write_atomically

    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(["row", found.events.mass, *found.hunts])
    columns = [hunt.scores.tolist() for hunt in found.hunts.values()]
    for row, m, *own in zip(found.rows.tolist(), found.events.m.tolist(), *columns, strict=True):
        table.writerow([row, f"{m:.9g}", *(f"{score:.6g}" for score in own)])
    write_atomically(path, written.getvalue().encode())
