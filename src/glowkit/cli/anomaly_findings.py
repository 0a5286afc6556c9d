"""What `glowkit anomalies` scores and finds, for the terminal, --json, the table and the page."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from glowkit.tasks import AnomalyDetector, AnomalyScores
    from glowkit.tasks.anomalies import DetectionFigures

UNUSUAL = 0.05
"""The p-value up to which an example counts as flagged."""
SHOWN = 24  # of the most anomalous examples


@dataclass(frozen=True)
class Examples:
    """Examples to score: what they are of, and each one's split and row there, and file if any."""

    name: str
    x: "Tensor"
    places: list[tuple[str, int]]
    files: list[str]
    held: int

    def __len__(self) -> int:
        return len(self.places)

    def word(self, number: int) -> str:
        """What to call one: its file, or its place as other commands take it."""
        return self.files[number] or ":".join(map(str, self.places[number]))


@dataclass(frozen=True)
class Found:
    """What there is to show. outside and figures only with images held to be outside."""

    inside: Examples
    outside: Examples | None
    detector: "AnomalyDetector"
    scores: "AnomalyScores"
    outside_scores: "AnomalyScores | None"
    figures: "Mapping[str, DetectionFigures]"
    ranks_by: str

    @property
    def codecs(self) -> dict[str, int]:
        """How many images of all each format made shortest, where complexity was asked for."""
        counts = Counter(self.scores.codecs)
        if self.outside_scores is not None:
            counts.update(self.outside_scores.codecs)
        return dict(counts.most_common())


def flagged(scores: "AnomalyScores", name: str) -> int:
    """How many examples are as unusual as 5 % of the usual ones, or more so."""
    return int((scores.p_values[name] <= UNUSUAL).sum())


def figures_of(found: Found) -> dict[str, Any]:
    """What was found, by the names of docs/json.md."""
    from glowkit.tasks.anomalies import group_typicality

    table: dict[str, Any] = {}
    for name in found.scores.values:
        table[name] = {
            "flagged": flagged(found.scores, name),
            "not_finite": found.scores.not_finite[name],
        }
        if found.outside_scores is not None:
            table[name] |= {
                "flagged_against": flagged(found.outside_scores, name),
                "not_finite_against": found.outside_scores.not_finite[name],
                **asdict(found.figures[name]),
            }
    odd = found.scores.order(found.ranks_by)[:SHOWN].tolist()
    group = group_typicality(found.scores.cost, found.detector.reference_cost)
    return {
        "scores": table,
        "left_out": found.detector.left_out,
        "codecs": found.codecs,
        "ranked_by": found.ranks_by,
        "most_anomalous": [found.inside.word(number) for number in odd],
        "group_distance": group.distance,
        "group_threshold": group.threshold,
    }
