"""glowkit: exact-likelihood generative models of images (normalizing flows)."""

from typing import TYPE_CHECKING

from glowkit._lazy import lazy_names

__version__ = "0.1.0"

if TYPE_CHECKING:
    from glowkit.core import (
        MIDPOINT,
        Bijection,
        Chain,
        Density,
        GlowkitError,
        GlowkitWarning,
        frozen,
        initialize,
        keep_freed_memory,
    )
    from glowkit.densities import Dequantize, Split, Then
    from glowkit.models import (
        PRESETS,
        AutoregressiveConfig,
        ContinuousConfig,
        CubeConfig,
        FlowPPConfig,
        GlowConfig,
        JetConfig,
        NICEConfig,
        PointsConfig,
        RealNVPConfig,
        ResFlowConfig,
        ResidualConfig,
        build,
        family,
        load,
        save,
    )
    from glowkit.tasks import (
        as_distribution,
        bits_per_dim,
        compress,
        decompress,
        export,
        guided,
        integrate,
        lossy,
        reconstruct,
    )

__all__ = [
    "MIDPOINT",
    "PRESETS",
    "AutoregressiveConfig",
    "Bijection",
    "Chain",
    "ContinuousConfig",
    "CubeConfig",
    "Density",
    "Dequantize",
    "FlowPPConfig",
    "GlowConfig",
    "GlowkitError",
    "GlowkitWarning",
    "JetConfig",
    "NICEConfig",
    "PointsConfig",
    "RealNVPConfig",
    "ResFlowConfig",
    "ResidualConfig",
    "Split",
    "Then",
    "__version__",
    "as_distribution",
    "bits_per_dim",
    "build",
    "compress",
    "decompress",
    "export",
    "family",
    "frozen",
    "guided",
    "initialize",
    "integrate",
    "keep_freed_memory",
    "load",
    "lossy",
    "reconstruct",
    "save",
]

_HOMES = {
    "glowkit.core": [
        "MIDPOINT",
        "Bijection",
        "Chain",
        "Density",
        "GlowkitError",
        "GlowkitWarning",
        "frozen",
        "initialize",
        "keep_freed_memory",
    ],
    "glowkit.densities": ["Dequantize", "Split", "Then"],
    "glowkit.models": [
        "PRESETS",
        "AutoregressiveConfig",
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
        "family",
        "load",
        "save",
    ],
    "glowkit.tasks": [
        "as_distribution",
        "bits_per_dim",
        "compress",
        "decompress",
        "export",
        "guided",
        "integrate",
        "lossy",
        "reconstruct",
    ],
}

if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
