"""Presets: the published settings, and small models that are good on a CPU."""

from glowkit.core import GlowkitError
from glowkit.models.glow import GlowConfig

CIFAR = (3, 32, 32)

PRESETS: dict[str, GlowConfig] = {
    "glow-tiny": GlowConfig((1, 8, 8), levels=2, steps=8, width=64, pixel_levels=17),
    "glow-small": GlowConfig(
        (1, 28, 28),
        levels=2,
        steps=8,
        width=96,
        coupling="mixture",
        last_kernel=1,
        dequantization="variational",
    ),
    "glow-cifar10": GlowConfig(CIFAR),
    "glow-imagenet32": GlowConfig(CIFAR, steps=48),
    "glow-imagenet64": GlowConfig((3, 64, 64), levels=4, steps=48),
    "glow-lsun64": GlowConfig((3, 64, 64), levels=3, steps=48),
    "glow-celebahq256": GlowConfig((3, 256, 256), levels=6, coupling="additive", pixel_levels=32),
    "glow-cifar10-conditional": GlowConfig(
        CIFAR, coupling="additive", pixel_levels=32, classes=10, classifier_weight=0.01
    ),
}
"""Settings of openai/glow's README for the published models, by name.

`glow-tiny` and `glow-small` are ours and for a CPU, the second with what pays most there: mixture
couplings behind 1x1 convolutions, and variational dequantization.
"""

DEFAULT_PRESET = "glow-tiny"


def preset(name: str) -> GlowConfig:
    """The config of a preset.

    Raises:
        GlowkitError: when there is none of that name.

    >>> preset("glow-cifar10").steps
    32
    """
    if name not in PRESETS:
        raise GlowkitError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
