"""Floor 1: what a flow is. Imports torch only, and that when it is needed."""

from typing import TYPE_CHECKING

from glowkit._lazy import lazy_names

if TYPE_CHECKING:
    from glowkit.core.bijection import (
        Bijection,
        Conditioned,
        constant_ladj,
        pixelwise_ladj,
        sum_per_example,
    )
    from glowkit.core.chain import Chain
    from glowkit.core.choice import choice_decode, choice_encode, floored
    from glowkit.core.density import Density, LogPKind, weakest
    from glowkit.core.finite import nan_where_broken
    from glowkit.core.freezing import frozen
    from glowkit.core.initialization import DataDependent, initialize
    from glowkit.core.noise import MIDPOINT, Generator, NoiseSpec, draw
    from glowkit.system.allocator import keep_freed_memory
    from glowkit.system.errors import GlowkitError, GlowkitWarning, shown

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
    "LogPKind",
    "NoiseSpec",
    "choice_decode",
    "choice_encode",
    "constant_ladj",
    "draw",
    "floored",
    "frozen",
    "initialize",
    "keep_freed_memory",
    "nan_where_broken",
    "pixelwise_ladj",
    "shown",
    "sum_per_example",
    "weakest",
]

_HOMES = {
    "glowkit.system.allocator": ["keep_freed_memory"],
    "glowkit.core.bijection": [
        "Bijection",
        "Conditioned",
        "constant_ladj",
        "pixelwise_ladj",
        "sum_per_example",
    ],
    "glowkit.core.chain": ["Chain"],
    "glowkit.core.choice": ["choice_decode", "choice_encode", "floored"],
    "glowkit.core.density": ["Density", "LogPKind", "weakest"],
    "glowkit.system.errors": ["GlowkitError", "GlowkitWarning", "shown"],
    "glowkit.core.finite": ["nan_where_broken"],
    "glowkit.core.freezing": ["frozen"],
    "glowkit.core.initialization": ["DataDependent", "initialize"],
    "glowkit.core.noise": ["MIDPOINT", "Generator", "NoiseSpec", "draw"],
}

if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__, _HOMES)
