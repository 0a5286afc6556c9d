"""Floor 1: invertible maps."""

from glowkit.bijections.actnorm import Actnorm
from glowkit.bijections.batchnorm import MaskedBatchNorm
from glowkit.bijections.bounded import BoundedAffine
from glowkit.bijections.columns import Checkerboard, Stripes
from glowkit.bijections.conv1x1 import Conv1x1
from glowkit.bijections.coupling import Coupling
from glowkit.bijections.elementwise import (
    ElementwiseAffine,
    ElementwiseScale,
    Logit,
    Shift,
    Sigmoid,
)
from glowkit.bijections.folded import ActnormConv1x1
from glowkit.bijections.halves import Halves
from glowkit.bijections.inverse import Inverse
from glowkit.bijections.masked import MaskedCoupling, checkerboard
from glowkit.bijections.matrix import InvertibleMatrix, LUMatrix, PlainMatrix, noisy_identity
from glowkit.bijections.mixture import LogisticMixture
from glowkit.bijections.norm import ElementwiseNorm
from glowkit.bijections.permute import (
    Permute,
    block_major,
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
    "ActnormConv1x1",
    "Additive",
    "Affine",
    "BoundedAffine",
    "Checkerboard",
    "Conv1x1",
    "Coupling",
    "ElementwiseAffine",
    "ElementwiseNorm",
    "ElementwiseScale",
    "Halves",
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
    "Stripes",
    "TanhAffine",
    "Transformer",
    "block_major",
    "checkerboard",
    "diagonals_first",
    "even_first",
    "noisy_identity",
    "reverse",
    "shuffle",
    "swap_halves",
]
