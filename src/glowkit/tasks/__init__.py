"""Floor 3: what a person does with a model."""

from glowkit.tasks.evaluation import Evaluation, evaluate
from glowkit.tasks.likelihood import bits_per_dim, training_loss
from glowkit.tasks.points import PointsEvaluation, evaluate_points, share_between_modes
from glowkit.tasks.reconstruction import largest_pixel_error, reconstruct

__all__ = [
    "Evaluation",
    "PointsEvaluation",
    "bits_per_dim",
    "evaluate",
    "evaluate_points",
    "largest_pixel_error",
    "reconstruct",
    "share_between_modes",
    "training_loss",
]
