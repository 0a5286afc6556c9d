"""Presets: the published settings, and small models that are good on a CPU."""

from dataclasses import replace

from glowkit.core import GlowkitError
from glowkit.models.flowpp import FlowPPConfig
from glowkit.models.glow import GlowConfig
from glowkit.models.nice import NICEConfig
from glowkit.models.points import PointsConfig
from glowkit.models.realnvp import RealNVPConfig

ImageConfig = FlowPPConfig | GlowConfig | NICEConfig | RealNVPConfig
"""Settings of a model of images; all have image_shape, pixel_levels and classes."""

Config = ImageConfig | PointsConfig
"""Settings of a model of any family."""

CIFAR = (3, 32, 32)

_FLOWPP_IMAGENET64 = FlowPPConfig(
    (3, 64, 64),
    couplings=((0, 0), (0, 4), (2, 2), (2, 2)),
    pointwise=False,
    blocks=16,
    components=4,
    dropout=0.0,
    head="concat-elu",
    dequantization_blocks=5,
    dequantization_heads=0,
    context_blocks=5,
    context_norm=True,
)

PRESETS: dict[str, Config] = {
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
    "glow-emoji": GlowConfig(CIFAR, steps=6, width=64, pixel_levels=32, last_kernel=1),
    "glow-cifar10": GlowConfig(CIFAR),
    "glow-imagenet32": GlowConfig(CIFAR, steps=48),
    "glow-imagenet64": GlowConfig((3, 64, 64), levels=4, steps=48),
    "glow-lsun64": GlowConfig((3, 64, 64), levels=3, steps=48),
    "glow-celebahq256": GlowConfig((3, 256, 256), levels=6, coupling="additive", pixel_levels=32),
    "glow-cifar10-conditional": GlowConfig(
        CIFAR, coupling="additive", pixel_levels=32, classes=10, classifier_weight=0.01
    ),
    "nice-mnist": NICEConfig((1, 28, 28)),
    "nice-tiny": NICEConfig((1, 8, 8), width=172, depth=2, pixel_levels=17),
    "realnvp-cifar10": RealNVPConfig(CIFAR),
    "realnvp-tiny": RealNVPConfig((1, 8, 8), blocks=1, width=16, pixel_levels=17),
    "spline-points": PointsConfig(),
    "mixture-points": PointsConfig(coupling="mixture"),
    "glow-points": PointsConfig(steps=32, width=32, coupling="affine"),
    "realnvp-points": PointsConfig(
        steps=32,
        width=32,
        coupling="bounded-affine",
        permutation="reverse",
        normalization="batch-norm",
    ),
    "nice-points": PointsConfig(
        steps=16,
        coupling="additive",
        permutation="reverse",
        normalization="diagonal",
        prior="logistic",
    ),
    "flowpp-cifar10": FlowPPConfig(CIFAR),
    "flowpp-imagenet32": FlowPPConfig(
        CIFAR,
        couplings=((0, 7), (3, 3)),
        pointwise=False,
        width=128,
        blocks=20,
        dropout=0.0,
        weight_norm=True,
        head="concat-elu",
        dequantization_couplings=8,
        dequantization_blocks=8,
        context_blocks=8,
        context_heads=4,
        context_norm=True,
    ),
    "flowpp-imagenet64": _FLOWPP_IMAGENET64,
    "flowpp-celeba128": replace(
        _FLOWPP_IMAGENET64,
        image_shape=(3, 128, 128),
        couplings=((0, 0), *_FLOWPP_IMAGENET64.couplings),
        blocks=12,
        pixel_levels=32,
    ),
    "flowpp-tiny": FlowPPConfig(
        (1, 8, 8),
        couplings=((0, 3), (2, 1)),
        width=24,
        blocks=1,
        components=4,
        dropout=0.0,
        pixel_levels=17,
        dequantization_couplings=1,
        dequantization_blocks=1,
        context_blocks=1,
        context_width=16,
    ),
}
"""Settings of the published models (Glow's from openai/glow's README), by name, and ours for a CPU.

Those called tiny are for the digits, of about equally many parameters; `glow-small` has what pays
most there: mixture couplings behind 1x1 convolutions, and variational dequantization. `glow-emoji`
is for emoji in 5 bits. Those whose name ends in -points are for points in the plane.
"""

DEFAULT_PRESET = "glow-tiny"
DEFAULT_POINTS_PRESET = "spline-points"


def preset(name: str) -> Config:
    """The config of a preset.

    Raises:
        GlowkitError: when there is none of that name.

    >>> preset("nice-mnist").depth
    5
    """
    if name not in PRESETS:
        raise GlowkitError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
