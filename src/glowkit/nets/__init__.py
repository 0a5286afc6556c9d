"""Floor 2: conditioner networks."""

from glowkit.nets.batchnorm import (
    BatchNorm,
    BatchShare,
    RunningMoments,
    following_moments,
    share_batch,
)
from glowkit.nets.causal import CausalLayer, CausalNet, CausalState
from glowkit.nets.fast import PRECISIONS
from glowkit.nets.gated import (
    BRANCH_DEVIATION,
    ChannelNorm,
    ConcatELU,
    GatedAttention,
    GatedConv,
    GatedLayer,
    GatedNet,
    Positions,
)
from glowkit.nets.glow import (
    ActnormConv2d,
    GlowNet,
    HalfSizeNet,
    Preactivation,
    ScaledConv2d,
    ZeroConv2d,
    ZeroLinear,
)
from glowkit.nets.made import MADE, MaskedLinear
from glowkit.nets.mlp import MLP, Constant, OneBlob
from glowkit.nets.normalized import (
    ConvMaker,
    NormedConv2d,
    StandardizedConv2d,
    StandardizedNormedConv2d,
    UnitConv2d,
)
from glowkit.nets.residual import MaskedSignPairs, ResidualNet, SignPairs

__all__ = [
    "BRANCH_DEVIATION",
    "MADE",
    "MLP",
    "PRECISIONS",
    "ActnormConv2d",
    "BatchNorm",
    "BatchShare",
    "CausalLayer",
    "CausalNet",
    "CausalState",
    "ChannelNorm",
    "ConcatELU",
    "Constant",
    "ConvMaker",
    "GatedAttention",
    "GatedConv",
    "GatedLayer",
    "GatedNet",
    "GlowNet",
    "HalfSizeNet",
    "MaskedLinear",
    "MaskedSignPairs",
    "NormedConv2d",
    "OneBlob",
    "Positions",
    "Preactivation",
    "ResidualNet",
    "RunningMoments",
    "ScaledConv2d",
    "SignPairs",
    "StandardizedConv2d",
    "StandardizedNormedConv2d",
    "UnitConv2d",
    "ZeroConv2d",
    "ZeroLinear",
    "following_moments",
    "share_batch",
]
