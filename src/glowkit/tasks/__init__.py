"""Floor 3: what a person does with a model."""

from glowkit.tasks.classification import Classification, class_log_probs, classify
from glowkit.tasks.evaluation import Evaluation, evaluate
from glowkit.tasks.likelihood import bits_per_dim, training_loss
from glowkit.tasks.reconstruction import largest_pixel_error, reconstruct

__all__ = [
    "Classification",
    "Evaluation",
    "bits_per_dim",
    "class_log_probs",
    "classify",
    "evaluate",
    "largest_pixel_error",
    "reconstruct",
    "training_loss",
]
