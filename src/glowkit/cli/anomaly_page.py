"""What `glowkit anomalies` writes: a page that needs no other file, and a table of all scores."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from glowkit.cli.anomaly_findings import (
    SHOWN,
    UNUSUAL,
    Examples,
    Found,
    figures_of,
    flagged,
)
from glowkit.cli.opened import Opened
from glowkit.pictures.sheet import inline
from glowkit.system.files import write_atomically
from glowkit.tasks.anomalies.assess import ranked
from glowkit.tasks.anomalies.scores import AnomalyScores
from glowkit.training.report import page_template

if TYPE_CHECKING:
    from torch import Tensor

MOST_COORDINATES = 8  # of a vector in a table
COLUMNS = SHOWN // 2

TEXTS = {
    "likelihood": "-log p(x): bits/dim, or nats of vectors. Finds what is noisier or busier than"
    " the training data; takes what is smooth for usual, whatever it shows.",
    "complexity": "Bits/dim less those of the image in the best of some general lossless formats:"
    " what the model lacks is weighed against how complex the image is anyway. Good where outside"
    " images are plainer or busier; blind where they differ in meaning alone.",
    "ratio": "Bits/dim less those of a background model, trained on perturbed images: what both"
    " know, the background, cancels. Good where backgrounds are large and alike; depends on how"
    " much was perturbed.",
    "typicality": "The distance of -log p(x) from its mean over usual examples. Finds what is too"
    " likely as well as too unlikely; weak on single examples, strong on groups.",
    "waic": "-log p(x) averaged over an ensemble, plus its variance over the ensemble: where the"
    " models disagree, none of them knows. Needs several trainings; shares likelihood's failure"
    " where they agree.",
    "latent": "The largest distance of any scale's ‖z‖² from what it is under the model, in"
    " standard deviations. Finds what breaks the noise of some scale, constant images for one.",
    "gradient": "ln ‖∂ log p/∂x‖: usual examples lie where the density is flat for its height."
    " Cheap; good beside others, uneven alone.",
    "dose": "How unusual -log p, the gradient, the norms of each scale's noise and the"
    " log-determinant are together, by kernel density estimates on usual examples. A good first"
    " choice: it is odd whichever way a statistic leaves its range.",
    "dose-svm": "The same statistics, and a one-class SVM around those of usual examples, which"
    " sees what they do together. Far out all scores are alike.",
}
"""What each score is, and what it is good and bad for."""


def write_csv(found: Found, path: Path) -> None:
    """A row for each example with its scores and p-values, the most anomalous first.

    Raises:
        GlowkitError: when it cannot be written.
    """
    sets = [("data", found.inside, found.scores)]
    if found.outside is not None and found.outside_scores is not None:
        sets.append(("against", found.outside, found.outside_scores))
    every = torch.cat([scores.values[found.ranks_by] for _, _, scores in sets])
    names = list(found.scores.values)
    rows = [
        [
            name,
            *examples.places[number],
            examples.files[number],
            *(f"{values[number]:.6g}" for values in _columns(scores, names)),
        ]
        for name, examples, scores in sets
        for number in range(len(examples))
    ]
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    pairs = [column for name in names for column in (name, f"{name}_p_value")]
    table.writerow(["set", "split", "row", "file", *pairs])
    order = ranked(every).argsort(descending=True, stable=True)
    table.writerows(rows[number] for number in order.tolist())
    write_atomically(path, written.getvalue().encode())


def _columns(scores: AnomalyScores, names: list[str]) -> "list[Tensor]":
    return [column[name] for name in names for column in (scores.values, scores.p_values)]


def write_page(opened: Opened, found: Found, about: Mapping[str, Any], path: Path) -> None:
    """The page of all scores: their figures, histograms, and the most anomalous examples.

    Raises:
        GlowkitError: when it cannot be written.
    """
    from glowkit.pictures.plots import paired_histograms

    panels = {}
    for name, values in found.scores.values.items():
        panels[name] = {"usual": found.detector.usual[name], "scored": values}
        if found.outside_scores is not None:
            panels[name] = {"inside": values, "outside": found.outside_scores.values[name]}
    best = max(
        (figure.auroc for figure in found.figures.values()),
        default=0.0,
    )
    page = page_template("anomalies.html.jinja", "cli").render(
        title=f"Anomalies in {found.inside.name}",
        run=opened.title,
        things=opened.objective.things,
        unit=opened.objective.unit,
        about=about,
        figures=found.figures,
        found=figures_of(found),
        flagged={
            name: (
                flagged(found.scores, name) / len(found.inside),
                flagged(found.outside_scores, name) / len(found.outside)
                if found.outside is not None and found.outside_scores is not None
                else None,
            )
            for name in found.scores.values
        },
        unusual=UNUSUAL,
        best=best,
        plain=found.figures["likelihood"].auroc if "likelihood" in found.figures else None,
        histograms=inline(paired_histograms(panels)),
        sections=[
            (name, TEXTS[name], *_oddest(opened, found, name)) for name in found.scores.values
        ],
    )
    write_atomically(path, page.encode())


def _oddest(
    opened: Opened, found: Found, name: str
) -> tuple[str | None, list[list[str]], list[str]]:
    """By one score, a sheet of images or the rows of a table, and the head of that table."""
    inside = found.scores.order(name)[:SHOWN].tolist()
    sets = [("data", found.inside, found.scores, inside)]
    if found.outside is not None and found.outside_scores is not None:
        order = found.outside_scores.order(name).tolist()
        sets = [
            ("inside, oddest", found.inside, found.scores, inside[:COLUMNS]),
            ("outside, oddest", found.outside, found.outside_scores, order[:COLUMNS]),
            ("outside, missed", found.outside, found.outside_scores, order[::-1][:COLUMNS]),
        ]
    if opened.objective.things == "images" and found.inside.x.dim() == 4:
        return inline(_sheet(opened, sets)), [], []
    rows = [
        [
            label,
            examples.word(number),
            f"{scores.values[name][number]:.4g}",
            f"{scores.p_values[name][number]:.3g}",
            _vector(examples.x[number]),
        ]
        for label, examples, scores, numbers in sets
        for number in numbers
    ]
    return None, rows, ["set", "example", "score", "p-value", "x"]


def _sheet(opened: Opened, sets: list[tuple[str, Examples, AnomalyScores, list[int]]]) -> bytes:
    from glowkit.pictures.sheet import image_sheet, png_of

    rows = []
    for label, examples, _, numbers in sets:
        for start in range(0, len(numbers), COLUMNS):
            chosen = examples.x[numbers[start : start + COLUMNS]]
            rows.append((label if len(sets) > 1 else "", chosen))
    return png_of(image_sheet(rows, opened.pixel_levels))


def _vector(x: "Tensor") -> str:
    shown = ", ".join(f"{value:.4g}" for value in x.flatten()[:MOST_COORDINATES].tolist())
    return shown + ", ..." * (x.numel() > MOST_COORDINATES)
