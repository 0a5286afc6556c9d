"""Floor 1: invertible maps."""

from glowkit.bijections.actnorm import Actnorm
from glowkit.bijections.batchnorm import MaskedBatchNorm
from glowkit.bijections.bounded import BoundedAffine
from glowkit.bijections.conv1x1 import Conv1x1
from glowkit.bijections.coupling import Coupling
from glowkit.bijections.elementwise import (
    ElementwiseAffine,
    ElementwiseScale,
    Logit,
    Shift,
    Sigmoid,
)
from glowkit.bijections.inverse import Inverse
from glowkit.bijections.masked import MaskedCoupling, checkerboard
from glowkit.bijections.matrix import InvertibleMatrix, LUMatrix, PlainMatrix
from glowkit.bijections.mixture import LogisticMixture
from glowkit.bijections.permute import (
    Permute,
    diagonals_first,
    even_first,
    reverse,
    shuffle,
    swap_halves,
)
from glowkit.bijections.reshape import Reshape
from glowkit.bijections.spline import RationalQuadraticSpline
from glowkit.bijections.squeeze import Squeeze
from glowkit.bijections.transformers import Additive, Affine, TanhAffine, Transformer

__all__ = [
    "Actnorm",
    "Additive",
    "Affine",
    "BoundedAffine",
    "Conv1x1",
    "Coupling",
    "ElementwiseAffine",
    "ElementwiseScale",
    "Inverse",
    "InvertibleMatrix",
    "LUMatrix",
    "LogisticMixture",
    "Logit",
    "MaskedBatchNorm",
    "MaskedCoupling",
    "Permute",
    "PlainMatrix",
    "RationalQuadraticSpline",
    "Reshape",
    "Shift",
    "Sigmoid",
    "Squeeze",
    "TanhAffine",
    "Transformer",
    "checkerboard",
    "diagonals_first",
    "even_first",
    "reverse",
    "shuffle",
    "swap_halves",
]
