"""Floor 3: priors and the ways to join them."""

from glowkit.densities.compose import Split, Then, kept_alone, kept_and_context
from glowkit.densities.context import WithContext, WithLabels, WithVectors
from glowkit.densities.dequantize import Dequantize, inside
from glowkit.densities.ordinal import FEATURES, Ordinal
from glowkit.densities.priors import (
    Classified,
    ConditionalNormal,
    StandardLogistic,
    StandardNormal,
    TopPrior,
    Uniform,
)

__all__ = [
    "FEATURES",
    "Classified",
    "ConditionalNormal",
    "Dequantize",
    "Ordinal",
    "Split",
    "StandardLogistic",
    "StandardNormal",
    "Then",
    "TopPrior",
    "Uniform",
    "WithContext",
    "WithLabels",
    "WithVectors",
    "inside",
    "kept_alone",
    "kept_and_context",
]
