"""docs/families.md: the table of families with what was measured, and a picture to choose by."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.families.measure import (
    DIGITS,
    PARAMETERS,
    POINTS,
    SAMPLES,
    Cells,
    config_of,
    name_of,
)
from benchmarks.families.subjects import SUBJECTS, Subject
from benchmarks.families.tree import draw_tree
from glowkit.models.families import count_parameters, from_settings, outline, preset
from glowkit.system.files import write_atomically
from glowkit.tasks.likelihood import SIGNS

PICTURE = "images/families.png"


def write_families(
    docs: Path, cells: Cells, seeds: int, seconds: Mapping[str, float], fashion: Path | None
) -> Path:
    """Write the page, and its picture below the same folder."""
    (docs / "images").mkdir(parents=True, exist_ok=True)
    draw_tree(docs / PICTURE)
    page = docs / "families.md"
    parts = [
        _INTRODUCTION,
        _what(),
        _costs(),
        _commands(),
        _measured(cells, seeds, seconds),
        _fashion(fashion),
    ]
    write_atomically(page, ("\n".join(part for part in parts if part).rstrip() + "\n").encode())
    return page


_INTRODUCTION = f"""# Families of flows

Every model of glowkit is a sentence of two nouns: a `Bijection`, an invertible map, and a
`Density`, which knows log p and writes x as standard noise. This page says what each family is and
what it costs. `python -m benchmarks families` writes it; that also trains each with as many
parameters and as much processor time as the others, where its file of results lacks them.

![Which family to begin with]({PICTURE})
"""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    # A bar inside a cell would end it.
    each = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in each) + "\n"


def _what() -> str:
    rows = [[s.name, s.sentence, s.formula, s.paper, s.preset, s.cifar10 or "-"] for s in SUBJECTS]
    columns = ["family", "sentence", "formula", "paper", "presets", "CIFAR-10"]
    return (
        "## What they are\n\nThe last column is the test bits/dim published for CIFAR-10, where we"
        " have seen it in a\npublic repository.\n\n" + _table(columns, rows)
    )


def _costs() -> str:
    rows = []
    for subject in SUBJECTS:
        kinds = {_kind(subject, each) for each in (POINTS[0], DIGITS)} - {""}
        said = " / ".join(sorted(kinds, reverse=True))
        rows.append([subject.name, said, subject.density, subject.sampling])
    return (
        "## What they cost\n\nlog p is exact, a lower bound or an unbiased estimate (of a bound"
        " too), and figures are printed with =, ≤ or ≈\naccordingly. A model of images that"
        " dequantizes gives a bound, whatever its flow: two kinds stand\nwhere a family is of"
        " points too. A pass is an evaluation of all networks.\n\n"
        + _table(["family", "kind of log p", "log p costs", "a sample costs"], rows)
    )


def _kind(subject: Subject, data: str) -> str:
    """Of its models of some data, whatever their size; nothing where it has none."""
    if data == DIGITS:
        return outline(preset(subject.digits)).log_p_kind if subject.digits else ""
    return outline(from_settings(subject.points)).log_p_kind if subject.points else ""


def _commands() -> str:
    columns = [
        "presets",
        "evaluate, sample, anomalies",
        "reconstruct, attributes, compare, report",
        "interpolate, edit, scales",
        "compress",
        "lossy compress",
    ]
    points = "glow-points, cif-points, residual-points, ffjord-points, matching-points"
    flat, exact = "no semantic latent", "no exact form"
    rows = [
        ["glow-tiny", *["yes"] * 5],
        ["flowpp-tiny, jet-tiny, nice-tiny", *["yes"] * 4, "no learned prior"],
        ["residual-tiny", *["yes"] * 3, exact, "no learned prior"],
        ["vflow-tiny", *["yes"] * 3, "added channels", "no mean of latents"],
        ["ar-tiny", "yes", "yes", flat, exact, "no latents"],
        ["tarflow-tiny", "yes", "yes", flat, exact, "no learned prior"],
        [points, "yes", *["of images"] * 4],
    ]
    return (
        "## Which commands take them\n\nWhat is not *yes* is refused in a sentence that says why; a"
        " test runs every command on every preset\nhere.\n\n" + _table(columns, rows)
    )


def _measured(cells: Cells, seeds: int, seconds: Mapping[str, float]) -> str:
    budgets = (f"{seconds[name]:g} s" for name in ("points", "digits"))
    if not any(f"| {budget} |" in name for budget in budgets for name in cells):
        return ""
    rows = []
    for subject in SUBJECTS:
        if not subject.points:
            continue
        each = [_cell(cells, subject, data, seeds, seconds["points"]) for data in POINTS]
        rows.append([subject.name, _parameters(subject, POINTS[0]), *each])
    digits = [
        [
            s.name,
            _parameters(s, DIGITS),
            _cell(cells, s, DIGITS, seeds, seconds["digits"]),
        ]
        for s in SUBJECTS
        if s.digits
    ]
    names = [data.removeprefix("points:") for data in POINTS]
    return f"""## What they reached here

{seconds["points"]:g} seconds of processor time a model of points, in one thread, and
{seconds["digits"]:g} a model of digits; Adam, rate 2e-3 with a cosine to 0, averaged weights, of
those at each tenth of the time the best by the validation split. Such budgets say which family
learns quickly, not where each would end. KL from the true density on 4,000 test points, in nats,
mean of ln p/q; lower is better. Bounds are of {SAMPLES} importance samples. After ± stands the
standard error over seeds, whose number is in brackets, or over points where
there is one seed. Widths were fitted to {PARAMETERS:,} parameters at most, but for planar and
radial flows, which have none; a dash is a cell that was not run.

{_table(["family", "parameters", *names], rows)}
Digits, bits/dim of the test split:

{_table(["family", "parameters", "bits/dim"], digits)}"""


def _parameters(subject: Subject, data: str) -> str:
    config = config_of(subject, data)
    return "-" if config is None else f"{count_parameters(config):,}"


def _cell(cells: Cells, subject: Subject, data: str, seeds: int, seconds: float) -> str:
    names = [name_of(subject, data, seed, seconds) for seed in range(seeds)]
    found = [cells[name] for name in names if name in cells]
    if not found:
        return "-"
    figures = [one["figure"] for one in found]
    if len(found) > 1:
        error = statistics.stdev(figures) / math.sqrt(len(figures))
    else:
        error = found[0]["standard_error"]
    mean = statistics.mean(figures)
    return f"{SIGNS[found[0]['kind']]} {mean:.3f} ± {error:.3f} ({len(found)})"


def _fashion(path: Path | None) -> str:
    """Of rows {name, parameters, minutes, bits_per_dim, standard_error, kind} in a file."""
    if path is None:
        return ""
    rows = [
        [
            row["name"],
            f"{row['parameters']:,}",
            f"{row['minutes']:g}",
            f"{SIGNS[row['kind']]} {row['bits_per_dim']:.3f} ± {row['standard_error']:.3f}",
        ]
        for row in json.loads(path.read_text())
    ]
    return "### Fashion-MNIST\n\n" + _table(["model", "parameters", "minutes", "bits/dim"], rows)
