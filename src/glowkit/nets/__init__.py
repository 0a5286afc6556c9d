"""Floor 2: conditioner networks."""

from glowkit.nets.batchnorm import (
    BatchNorm,
    BatchShare,
    RunningMoments,
    share_batch,
)
from glowkit.nets.causal import CausalNet, CausalState
from glowkit.nets.fast import PRECISIONS
from glowkit.nets.following import FollowsOutput, FollowsWeights, following, following_moments
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
from glowkit.nets.linearized import LinearizedNet, Product, Swish, TangentLinear, velocity_mlp
from glowkit.nets.lipschitz import (
    LipSwish,
    SpectralConv2d,
    SpectralLinear,
    lipschitz_cnn,
    lipschitz_mlp,
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
from glowkit.nets.vit import TransformerLayer, ViT

__all__ = [
    "BRANCH_DEVIATION",
    "MADE",
    "MLP",
    "PRECISIONS",
    "ActnormConv2d",
    "BatchNorm",
    "BatchShare",
    "CausalNet",
    "CausalState",
    "ChannelNorm",
    "ConcatELU",
    "Constant",
    "ConvMaker",
    "FollowsOutput",
    "FollowsWeights",
    "GatedAttention",
    "GatedConv",
    "GatedLayer",
    "GatedNet",
    "GlowNet",
    "HalfSizeNet",
    "LinearizedNet",
    "LipSwish",
    "MaskedLinear",
    "MaskedSignPairs",
    "NormedConv2d",
    "OneBlob",
    "Positions",
    "Preactivation",
    "Product",
    "ResidualNet",
    "RunningMoments",
    "ScaledConv2d",
    "SignPairs",
    "SpectralConv2d",
    "SpectralLinear",
    "StandardizedConv2d",
    "StandardizedNormedConv2d",
    "Swish",
    "TangentLinear",
    "TransformerLayer",
    "UnitConv2d",
    "ViT",
    "ZeroConv2d",
    "ZeroLinear",
    "following",
    "following_moments",
    "lipschitz_cnn",
    "lipschitz_mlp",
    "share_batch",
    "velocity_mlp",
]
