"""Floor 0: conditioner networks. They know nothing of flows."""

from glowkit.nets.batchnorm import BatchNorm, RunningMoments, following_moments
from glowkit.nets.convolution import ActnormConv2d, ScaledConv2d, ZeroConv2d, ZeroLinear
from glowkit.nets.glow import GlowNet, Preactivation
from glowkit.nets.half import HalfSizeNet
from glowkit.nets.mlp import MLP
from glowkit.nets.normed import NormedConv2d, UnitConv2d
from glowkit.nets.precision import PRECISIONS
from glowkit.nets.residual import MaskedSignPairs, ResidualNet, SignPairs

__all__ = [
    "MLP",
    "PRECISIONS",
    "ActnormConv2d",
    "BatchNorm",
    "GlowNet",
    "HalfSizeNet",
    "MaskedSignPairs",
    "NormedConv2d",
    "Preactivation",
    "ResidualNet",
    "RunningMoments",
    "ScaledConv2d",
    "SignPairs",
    "UnitConv2d",
    "ZeroConv2d",
    "ZeroLinear",
    "following_moments",
]
