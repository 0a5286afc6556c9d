"""Floor 5: what a person does with a model."""

from glowkit.tasks import lossy
from glowkit.tasks.anomalies import AnomalyDetector, AnomalyScores, anomaly_scores
from glowkit.tasks.attributes import (
    Attributes,
    edit,
    load_attributes,
    orthogonal,
    save_attributes,
    separation,
)
from glowkit.tasks.baselines import nearest
from glowkit.tasks.classification import Classification, class_log_probs, classify
from glowkit.tasks.coding import compress, decompress
from glowkit.tasks.directions import logistic_directions, mean_directions
from glowkit.tasks.distribution import as_distribution
from glowkit.tasks.evaluation import Evaluation, evaluate, largest_pixel_error, reconstruct
from glowkit.tasks.exporting import export
from glowkit.tasks.guidance import denoised, guided
from glowkit.tasks.integration import Integral, integrate
from glowkit.tasks.interpolation import interpolate
from glowkit.tasks.latent import join, keep_coarse, part
from glowkit.tasks.likelihood import bits_per_dim, training_loss
from glowkit.tasks.points import PointsEvaluation, evaluate_points, share_between_modes

__all__ = [
    "AnomalyDetector",
    "AnomalyScores",
    "Attributes",
    "Classification",
    "Evaluation",
    "Integral",
    "PointsEvaluation",
    "anomaly_scores",
    "as_distribution",
    "bits_per_dim",
    "class_log_probs",
    "classify",
    "compress",
    "decompress",
    "denoised",
    "edit",
    "evaluate",
    "evaluate_points",
    "export",
    "guided",
    "integrate",
    "interpolate",
    "join",
    "keep_coarse",
    "largest_pixel_error",
    "load_attributes",
    "logistic_directions",
    "lossy",
    "mean_directions",
    "nearest",
    "orthogonal",
    "part",
    "reconstruct",
    "save_attributes",
    "separation",
    "share_between_modes",
    "training_loss",
]
