"""glowkit: exact-likelihood generative models of images (normalizing flows).

Names are imported when first used, so that `import glowkit` costs nothing by itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glowkit.core import MIDPOINT as MIDPOINT
    from glowkit.core import Bijection as Bijection
    from glowkit.core import Chain as Chain
    from glowkit.core import Density as Density
    from glowkit.core import GlowkitError as GlowkitError
    from glowkit.core import initialize as initialize
    from glowkit.densities import Dequantize as Dequantize
    from glowkit.densities import Split as Split
    from glowkit.densities import Then as Then
    from glowkit.models import PRESETS as PRESETS
    from glowkit.models import GlowConfig as GlowConfig
    from glowkit.models import build as build
    from glowkit.models import load as load
    from glowkit.models import save as save
    from glowkit.tasks import bits_per_dim as bits_per_dim
    from glowkit.tasks import reconstruct as reconstruct

_HOMES = {
    "glowkit.core": [
        "MIDPOINT",
        "Bijection",
        "Chain",
        "Density",
        "GlowkitError",
        "initialize",
    ],
    "glowkit.densities": ["Dequantize", "Split", "Then"],
    "glowkit.models": ["PRESETS", "GlowConfig", "build", "load", "save"],
    "glowkit.tasks": ["bits_per_dim", "reconstruct"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "MIDPOINT",
    "PRESETS",
    "Bijection",
    "Chain",
    "Density",
    "Dequantize",
    "GlowConfig",
    "GlowkitError",
    "Split",
    "Then",
    "bits_per_dim",
    "build",
    "initialize",
    "load",
    "reconstruct",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'glowkit' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
