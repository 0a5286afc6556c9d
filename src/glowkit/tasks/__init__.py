"""Floor 3: what a person does with a model."""

from glowkit.tasks.classification import Classification, class_log_probs, classify
from glowkit.tasks.evaluation import Evaluation, evaluate
from glowkit.tasks.interpolation import interpolate
from glowkit.tasks.latent import join, keep_coarse, part
from glowkit.tasks.likelihood import bits_per_dim, training_loss
from glowkit.tasks.neighbours import nearest
from glowkit.tasks.points import PointsEvaluation, evaluate_points, share_between_modes
from glowkit.tasks.reconstruction import largest_pixel_error, reconstruct

__all__ = [
    "Classification",
    "Evaluation",
    "PointsEvaluation",
    "bits_per_dim",
    "class_log_probs",
    "classify",
    "evaluate",
    "evaluate_points",
    "interpolate",
    "join",
    "keep_coarse",
    "largest_pixel_error",
    "nearest",
    "part",
    "reconstruct",
    "share_between_modes",
    "training_loss",
]
