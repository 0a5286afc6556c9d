"""Floor 0: what a flow is. Imports torch only."""

from glowkit.core.bijection import Bijection, constant_ladj, sum_per_example
from glowkit.core.chain import Chain
from glowkit.core.density import Density
from glowkit.core.errors import GlowkitError
from glowkit.core.initialize import DataDependent, initialize
from glowkit.core.noise import MIDPOINT, Generator, NoiseSpec, draw

__all__ = [
    "MIDPOINT",
    "Bijection",
    "Chain",
    "DataDependent",
    "Density",
    "Generator",
    "GlowkitError",
    "NoiseSpec",
    "constant_ladj",
    "draw",
    "initialize",
    "sum_per_example",
]
