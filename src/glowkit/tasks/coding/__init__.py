"""Lossless compression: a flow as an exact bijection of integers, over a stack of bits."""

from glowkit.tasks.coding.codec import Codec
from glowkit.tasks.coding.container import compress, decompress

__all__ = ["Codec", "compress", "decompress"]
