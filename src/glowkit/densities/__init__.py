"""Floor 3: priors and the ways to join them."""

from glowkit.densities.augmented import Augmented
from glowkit.densities.compose import Split, Then, kept_alone, kept_and_context
from glowkit.densities.context import WithContext, WithLabels, WithVectors, no_label
from glowkit.densities.dequantize import Dequantize, inside
from glowkit.densities.estimated import Hutchinson, RussianRoulette, ThenEstimated
from glowkit.densities.matching import Matched, MatchedEstimated, matching_loss
from glowkit.densities.noisy import Noisy, noise_of
from glowkit.densities.ordinal import FEATURES, Ordinal
from glowkit.densities.priors import (
    Classified,
    ConditionalNormal,
    HalfNormal,
    StandardLogistic,
    StandardNormal,
    TopPrior,
    Uniform,
)
from glowkit.densities.surjections import Absolute, MaxPool, Sorted

__all__ = [
    "FEATURES",
    "Absolute",
    "Augmented",
    "Classified",
    "ConditionalNormal",
    "Dequantize",
    "HalfNormal",
    "Hutchinson",
    "Matched",
    "MatchedEstimated",
    "MaxPool",
    "Noisy",
    "Ordinal",
    "RussianRoulette",
    "Sorted",
    "Split",
    "StandardLogistic",
    "StandardNormal",
    "Then",
    "ThenEstimated",
    "TopPrior",
    "Uniform",
    "WithContext",
    "WithLabels",
    "WithVectors",
    "inside",
    "kept_alone",
    "kept_and_context",
    "matching_loss",
    "no_label",
    "noise_of",
]
