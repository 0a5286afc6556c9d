"""Floor 1: priors and the ways to join them."""

from glowkit.densities.conditional import ConditionalNormal
from glowkit.densities.context import WithContext
from glowkit.densities.dequantize import Dequantize, inside
from glowkit.densities.labels import WithLabels
from glowkit.densities.normal import StandardLogistic, StandardNormal
from glowkit.densities.split import Split, kept_alone, kept_and_context
from glowkit.densities.then import Then
from glowkit.densities.top import Classified, TopPrior
from glowkit.densities.uniform import Uniform
from glowkit.densities.vectors import WithVectors

__all__ = [
    "Classified",
    "ConditionalNormal",
    "Dequantize",
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
