"""What `glowkit resonance` found: its figures by plain names, and in words."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from glowkit.data.resonance import Events
    from glowkit.tasks.resonance import Excess, Hunt, Regions, Scan, SignificanceImprovement


@dataclass
class Findings:
    """What a search found: by method, excesses; and what its scores are worth, where that is known.

    rows: where the events were in the data. judged: how many events of background the curves are
    of, and the fewest that a cut keeps.
    """

    data: str
    events: "Events"
    rows: "Tensor"
    regions: "Regions"
    seed: int
    hunts: "dict[str, Hunt]" = field(default_factory=dict)
    curves: "dict[str, SignificanceImprovement]" = field(default_factory=dict)
    judged: tuple[int, int] = (0, 0)
    scan: "tuple[str, Scan] | None" = None


def figures_of(found: Findings) -> dict[str, Any]:
    """The figures by plain names, as docs/json.md has them."""
    regions, events = found.regions, found.events
    inside, outside = regions.dropped
    window = (events.m > regions.window[0]) & (events.m < regions.window[1])
    figures: dict[str, Any] = {
        "data": found.data,
        "mass": events.mass,
        "window": list(regions.window),
        "features": list(events.names),
        "seed": found.seed,
        "events": len(events),
        "events_in_window": int(window.sum()),
        "dropped_events": inside + outside,
        "dropped_in_window": inside,
        "excesses": {
            name: [_excess(excess) for excess in hunt.excesses]
            for name, hunt in found.hunts.items()
        },
    }
    if events.truth is not None:
        figures["signal_in_window"] = int((events.truth & window).sum())
    if found.curves:
        figures["max_sic"] = {name: curve.max_sic for name, curve in found.curves.items()}
        figures["max_sic_standard_error"] = {
            name: curve.standard_error for name, curve in found.curves.items()
        }
        figures["signal_efficiency"] = {
            name: curve.best_efficiency for name, curve in found.curves.items()
        }
        figures["auroc"] = {name: curve.auc for name, curve in found.curves.items()}
        figures["test_background"], figures["least_background"] = found.judged
    if "optimal" in found.curves:
        figures["optimal"] = found.curves["optimal"].max_sic
    if found.scan is not None:
        method, scan = found.scan
        figures["scan"] = {
            "method": method,
            "windows": [
                {"window": list(where), "excesses": [_excess(excess) for excess in each]}
                for where, each in zip(scan.windows, scan.excesses, strict=True)
            ],
            "global_p_value": scan.global_p_value,
            "global_significance": scan.global_significance,
        }
    return figures


def _excess(excess: "Excess") -> dict[str, Any]:
    names = ("efficiency", "observed", "expected", "uncertainty", "significance", "p_value")
    return {name: getattr(excess, name) for name in (*names, "fit_p_value")}


def title_of(efficiency: float) -> str:
    """A cut by what it keeps."""
    return "no cut" if efficiency == 1 else f"cut to {100 * efficiency:g} %"


def text_of(excess: "Excess") -> str:
    """An excess in words."""
    if math.isnan(excess.expected):
        return f"{excess.observed} observed; too few events beside the window to fit"
    return (
        f"{excess.observed:,} observed, {excess.expected:,.1f} ± {excess.uncertainty:.1f} expected:"
        f" Z = {excess.significance:.2f}"
    )


def scan_text(scan: "Scan") -> str:
    """What a scan found, in words."""
    tries = sum(math.isfinite(e.significance) for each in scan.excesses for e in each)
    highest = max(
        (e.significance for each in scan.excesses for e in each if math.isfinite(e.significance)),
        default=math.nan,
    )
    return (
        f"scan of {len(scan.windows)} windows: highest local Z {highest:.2f}; for {tries} tries"
        f" p = {scan.global_p_value:.2g}, global Z = {scan.global_significance:.2f}"
    )
