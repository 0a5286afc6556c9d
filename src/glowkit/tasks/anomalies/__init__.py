"""Anomaly scores of a density: which examples are unusual to it."""

from glowkit.tasks.anomalies.assess import (
    DetectionFigures,
    GroupTypicality,
    detection_figures,
    group_typicality,
)
from glowkit.tasks.anomalies.scores import (
    SCORES,
    AnomalyDetector,
    AnomalyScores,
    anomaly_scores,
)

__all__ = [
    "SCORES",
    "AnomalyDetector",
    "AnomalyScores",
    "DetectionFigures",
    "GroupTypicality",
    "anomaly_scores",
    "detection_figures",
    "group_typicality",
]
