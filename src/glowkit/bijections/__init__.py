"""Floor 1: invertible maps."""

from glowkit.bijections.actnorm import Actnorm
from glowkit.bijections.conv1x1 import Conv1x1
from glowkit.bijections.coupling import Coupling
from glowkit.bijections.elementwise import ElementwiseAffine, Logit, Shift, Sigmoid
from glowkit.bijections.inverse import Inverse
from glowkit.bijections.matrix import InvertibleMatrix, LUMatrix, PlainMatrix
from glowkit.bijections.mixture import LogisticMixture
from glowkit.bijections.permute import Permute, reverse, shuffle
from glowkit.bijections.spline import RationalQuadraticSpline
from glowkit.bijections.squeeze import Squeeze
from glowkit.bijections.transformers import Additive, Affine, Transformer

__all__ = [
    "Actnorm",
    "Additive",
    "Affine",
    "Conv1x1",
    "Coupling",
    "ElementwiseAffine",
    "Inverse",
    "InvertibleMatrix",
    "LUMatrix",
    "LogisticMixture",
    "Logit",
    "Permute",
    "PlainMatrix",
    "RationalQuadraticSpline",
    "Shift",
    "Sigmoid",
    "Squeeze",
    "Transformer",
    "reverse",
    "shuffle",
]
