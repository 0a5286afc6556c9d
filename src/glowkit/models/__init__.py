"""Floor 4: one recipe a file; the register of families; presets; build, save and load."""

from typing import TYPE_CHECKING

from glowkit._lazy import lazy_names
from glowkit.models.families import (
    PRESETS,
    Config,
    build,
    changed,
    count_parameters,
    family,
    from_settings,
    preset,
    to_settings,
)
from glowkit.models.presets import (
    DEFAULT_POINTS_PRESET,
    DEFAULT_PRESET,
    DEFAULT_TABLE_PRESET,
)
from glowkit.models.store import load, save

if TYPE_CHECKING:
    from glowkit.models.autoregressive import AutoregressiveConfig
    from glowkit.models.continuous import ContinuousConfig
    from glowkit.models.cube import CubeConfig
    from glowkit.models.flowpp import FlowPPConfig
    from glowkit.models.glow import GlowConfig
    from glowkit.models.jet import JetConfig
    from glowkit.models.nice import NICEConfig
    from glowkit.models.points import PointsConfig
    from glowkit.models.realnvp import RealNVPConfig
    from glowkit.models.resflow import ResFlowConfig
    from glowkit.models.residual import ResidualConfig

__all__ = [
    "DEFAULT_POINTS_PRESET",
    "DEFAULT_PRESET",
    "DEFAULT_TABLE_PRESET",
    "PRESETS",
    "AutoregressiveConfig",
    "Config",
    "ContinuousConfig",
    "CubeConfig",
    "FlowPPConfig",
    "GlowConfig",
    "JetConfig",
    "NICEConfig",
    "PointsConfig",
    "RealNVPConfig",
    "ResFlowConfig",
    "ResidualConfig",
    "build",
    "changed",
    "count_parameters",
    "family",
    "from_settings",
    "load",
    "preset",
    "save",
    "to_settings",
]

if not TYPE_CHECKING:
    # A command needs one family of several.
    __getattr__ = lazy_names(
        __name__,
        {
            "glowkit.models.continuous": ["ContinuousConfig"],
            "glowkit.models.autoregressive": ["AutoregressiveConfig"],
            "glowkit.models.cube": ["CubeConfig"],
            "glowkit.models.flowpp": ["FlowPPConfig"],
            "glowkit.models.glow": ["GlowConfig"],
            "glowkit.models.jet": ["JetConfig"],
            "glowkit.models.nice": ["NICEConfig"],
            "glowkit.models.points": ["PointsConfig"],
            "glowkit.models.realnvp": ["RealNVPConfig"],
            "glowkit.models.residual": ["ResidualConfig"],
            "glowkit.models.resflow": ["ResFlowConfig"],
        },
    )
