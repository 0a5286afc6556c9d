"""Floor 0: conditioner networks. They know nothing of flows."""

from glowkit.nets.convolution import ActnormConv2d, ScaledConv2d, ZeroConv2d, ZeroLinear
from glowkit.nets.glow import GlowNet
from glowkit.nets.half import HalfSizeNet
from glowkit.nets.mlp import MLP
from glowkit.nets.precision import PRECISIONS

__all__ = [
    "MLP",
    "PRECISIONS",
    "ActnormConv2d",
    "GlowNet",
    "HalfSizeNet",
    "ScaledConv2d",
    "ZeroConv2d",
    "ZeroLinear",
]
