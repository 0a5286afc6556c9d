"""Floor 4: one recipe a file; presets; build, save and load."""

from glowkit.models.build import (
    build,
    count_parameters,
    from_settings,
    to_settings,
)
from glowkit.models.flowpp import FlowPPConfig
from glowkit.models.glow import GlowConfig
from glowkit.models.nice import NICEConfig
from glowkit.models.points import PointsConfig
from glowkit.models.presets import (
    DEFAULT_POINTS_PRESET,
    DEFAULT_PRESET,
    PRESETS,
    Config,
    ImageConfig,
    preset,
)
from glowkit.models.realnvp import RealNVPConfig
from glowkit.models.store import load, save

__all__ = [
    "DEFAULT_POINTS_PRESET",
    "DEFAULT_PRESET",
    "PRESETS",
    "Config",
    "FlowPPConfig",
    "GlowConfig",
    "ImageConfig",
    "NICEConfig",
    "PointsConfig",
    "RealNVPConfig",
    "build",
    "count_parameters",
    "from_settings",
    "load",
    "preset",
    "save",
    "to_settings",
]
