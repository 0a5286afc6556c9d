"""Floor 0: what a flow is. Imports torch only, and that when it is needed."""

from typing import TYPE_CHECKING

from glowkit._lazy import lazy_names

if TYPE_CHECKING:
    from glowkit.core.allocator import keep_freed_memory
    from glowkit.core.bijection import (
        Bijection,
        constant_ladj,
        pixelwise_ladj,
        sum_per_example,
    )
    from glowkit.core.chain import Chain
    from glowkit.core.conditioned import Conditioned
    from glowkit.core.density import Density
    from glowkit.core.errors import GlowkitError, GlowkitWarning, shown
    from glowkit.core.finite import nan_where_broken
    from glowkit.core.initialization import DataDependent, initialize
    from glowkit.core.noise import MIDPOINT, Generator, NoiseSpec, draw

__all__ = [
    "MIDPOINT",
    "Bijection",
    "Chain",
    "Conditioned",
    "DataDependent",
    "Density",
    "Generator",
    "GlowkitError",
    "GlowkitWarning",
    "NoiseSpec",
    "constant_ladj",
    "draw",
    "initialize",
    "keep_freed_memory",
    "nan_where_broken",
    "pixelwise_ladj",
    "shown",
    "sum_per_example",
]

_HOMES = {
    "glowkit.core.allocator": ["keep_freed_memory"],
    "glowkit.core.bijection": [
        "Bijection",
        "constant_ladj",
        "pixelwise_ladj",
        "sum_per_example",
    ],
    "glowkit.core.chain": ["Chain"],
    "glowkit.core.conditioned": ["Conditioned"],
    "glowkit.core.density": ["Density"],
    "glowkit.core.errors": ["GlowkitError", "GlowkitWarning", "shown"],
    "glowkit.core.finite": ["nan_where_broken"],
    "glowkit.core.initialization": ["DataDependent", "initialize"],
    "glowkit.core.noise": ["MIDPOINT", "Generator", "NoiseSpec", "draw"],
}

if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__, _HOMES)
