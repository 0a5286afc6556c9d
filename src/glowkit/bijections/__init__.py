"""Floor 3: invertible maps."""

from glowkit.bijections.autoregressive import Autoregressive
from glowkit.bijections.continuous import (
    Divergence,
    ExactDivergence,
    Integrate,
    integrates,
    refined,
)
from glowkit.bijections.coupling import (
    Additive,
    Affine,
    BoundedAffine,
    CentredAffine,
    Coupling,
    TanhAffine,
    Transformer,
)
from glowkit.bijections.elementwise import (
    Box,
    ElementwiseAffine,
    ElementwiseNorm,
    ElementwiseScale,
    Logit,
    Scale,
    Shift,
    Sigmoid,
)
from glowkit.bijections.linear import (
    ActnormConv1x1,
    Conv1x1,
    InvertibleMatrix,
    LUMatrix,
    PlainMatrix,
    noisy_identity,
)
from glowkit.bijections.masked import (
    Checkerboard,
    Halves,
    MaskedBatchNorm,
    MaskedCoupling,
    On,
    RowStripes,
    Stripes,
    checkerboard,
)
from glowkit.bijections.mixture import LogisticMixture
from glowkit.bijections.normalization import Actnorm
from glowkit.bijections.piecewise import PiecewiseLinear, PiecewiseQuadratic
from glowkit.bijections.planar import Planar, Radial
from glowkit.bijections.positive import Gaps, Softplus
from glowkit.bijections.reshape import (
    Permute,
    Reshape,
    Squeeze,
    block_major,
    diagonals_first,
    even_first,
    reverse,
    shuffle,
    swap_halves,
)
from glowkit.bijections.residual import ExactLogDet, LogDet, PowerSeries, Residual
from glowkit.bijections.spline import RationalQuadraticSpline
from glowkit.bijections.standardize import ContextMoments, Moments, Standardize, standardize
from glowkit.bijections.step import GlowStep
from glowkit.bijections.tokens import Flip, Patches, TarAffine, TokenAutoregressive
from glowkit.core.chain import Inverse

__all__ = [
    "Actnorm",
    "ActnormConv1x1",
    "Additive",
    "Affine",
    "Autoregressive",
    "BoundedAffine",
    "Box",
    "CentredAffine",
    "Checkerboard",
    "ContextMoments",
    "Conv1x1",
    "Coupling",
    "Divergence",
    "ElementwiseAffine",
    "ElementwiseNorm",
    "ElementwiseScale",
    "ExactDivergence",
    "ExactLogDet",
    "Flip",
    "Gaps",
    "GlowStep",
    "Halves",
    "Integrate",
    "Inverse",
    "InvertibleMatrix",
    "LUMatrix",
    "LogDet",
    "LogisticMixture",
    "Logit",
    "MaskedBatchNorm",
    "MaskedCoupling",
    "Moments",
    "On",
    "Patches",
    "Permute",
    "PiecewiseLinear",
    "PiecewiseQuadratic",
    "PlainMatrix",
    "Planar",
    "PowerSeries",
    "Radial",
    "RationalQuadraticSpline",
    "Reshape",
    "Residual",
    "RowStripes",
    "Scale",
    "Shift",
    "Sigmoid",
    "Softplus",
    "Squeeze",
    "Standardize",
    "Stripes",
    "TanhAffine",
    "TarAffine",
    "TokenAutoregressive",
    "Transformer",
    "block_major",
    "checkerboard",
    "diagonals_first",
    "even_first",
    "integrates",
    "noisy_identity",
    "refined",
    "reverse",
    "shuffle",
    "standardize",
    "swap_halves",
]
