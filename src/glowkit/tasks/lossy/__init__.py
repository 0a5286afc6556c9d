"""Compression with loss: latents rounded to a step, by a flow that was trained to be rounded."""

from glowkit.tasks.lossy.container import compress, decompress
from glowkit.tasks.lossy.loss import rate_distortion, unit_of
from glowkit.tasks.lossy.quantise import at_step, check_lossy
from glowkit.tasks.lossy.settings import LossySettings

__all__ = [
    "LossySettings",
    "at_step",
    "check_lossy",
    "compress",
    "decompress",
    "rate_distortion",
    "unit_of",
]
