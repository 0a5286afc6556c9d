"""Floor 2: one recipe a file; presets; build, save and load."""

from glowkit.models.build import (
    Config,
    build,
    count_parameters,
    from_settings,
    to_settings,
)
from glowkit.models.glow import GlowConfig
from glowkit.models.presets import DEFAULT_PRESET, PRESETS, preset
from glowkit.models.store import load, save

__all__ = [
    "DEFAULT_PRESET",
    "PRESETS",
    "Config",
    "GlowConfig",
    "build",
    "count_parameters",
    "from_settings",
    "load",
    "preset",
    "save",
    "to_settings",
]
