"""Presets: the published settings, and small models that are good on a CPU."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from glowkit.core import GlowkitError
from glowkit.models.families import Config, named


def _of(family: str, **settings: Any) -> Callable[[], Config]:
    return partial(_make, family, settings)


def _make(family: str, settings: Mapping[str, Any]) -> Config:
    return named(family).config(**settings)


CIFAR = (3, 32, 32)

_LARGE_COUPLINGS = ((0, 4), (2, 2), (2, 2))
_LARGE_FLOWPP: dict[str, Any] = {
    "pointwise": False,
    "components": 4,
    "dropout": 0.0,
    "head": "concat-elu",
    "dequantization_blocks": 5,
    "dequantization_heads": 0,
    "context_blocks": 5,
    "context_norm": True,
}

_PRESETS: dict[str, Callable[[], Config]] = {
    "glow-tiny": _of("glow", image_shape=(1, 8, 8), levels=2, steps=8, width=64, pixel_levels=17),
    "glow-small": _of(
        "glow",
        image_shape=(1, 28, 28),
        levels=2,
        steps=8,
        width=96,
        coupling="mixture",
        last_kernel=1,
        dequantization="variational",
    ),
    "glow-emoji": _of("glow", image_shape=CIFAR, steps=6, width=64, pixel_levels=32, last_kernel=1),
    "glow-cifar10": _of("glow", image_shape=CIFAR),
    "glow-imagenet32": _of("glow", image_shape=CIFAR, steps=48),
    "glow-imagenet64": _of("glow", image_shape=(3, 64, 64), levels=4, steps=48),
    "glow-lsun64": _of("glow", image_shape=(3, 64, 64), levels=3, steps=48),
    "glow-celebahq256": _of(
        "glow", image_shape=(3, 256, 256), levels=6, coupling="additive", pixel_levels=32
    ),
    "glow-cifar10-conditional": _of(
        "glow",
        image_shape=CIFAR,
        coupling="additive",
        pixel_levels=32,
        classes=10,
        classifier_weight=0.01,
    ),
    "nice-mnist": _of("nice", image_shape=(1, 28, 28)),
    "nice-tiny": _of("nice", image_shape=(1, 8, 8), width=172, depth=2, pixel_levels=17),
    "realnvp-cifar10": _of("realnvp", image_shape=CIFAR),
    "realnvp-tiny": _of("realnvp", image_shape=(1, 8, 8), blocks=1, width=16, pixel_levels=17),
    "spline-points": _of("points"),
    "mixture-points": _of("points", coupling="mixture"),
    "glow-points": _of("points", steps=32, width=32, coupling="affine"),
    "realnvp-points": _of(
        "points",
        steps=32,
        width=32,
        coupling="bounded-affine",
        permutation="reverse",
        normalization="batch-norm",
    ),
    "nice-points": _of(
        "points",
        steps=16,
        coupling="additive",
        permutation="reverse",
        normalization="diagonal",
        prior="logistic",
    ),
    "flowpp-cifar10": _of("flowpp", image_shape=CIFAR),
    "flowpp-imagenet32": _of(
        "flowpp",
        image_shape=CIFAR,
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
    "flowpp-imagenet64": _of(
        "flowpp",
        image_shape=(3, 64, 64),
        couplings=((0, 0), *_LARGE_COUPLINGS),
        blocks=16,
        **_LARGE_FLOWPP,
    ),
    "flowpp-celeba128": _of(
        "flowpp",
        image_shape=(3, 128, 128),
        couplings=((0, 0), (0, 0), *_LARGE_COUPLINGS),
        blocks=12,
        pixel_levels=32,
        **_LARGE_FLOWPP,
    ),
    "flowpp-tiny": _of(
        "flowpp",
        image_shape=(1, 8, 8),
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
"""By name: settings of the published models (Glow's from openai/glow's README), and ours for a CPU.

Those called tiny are for the digits, of about equally many parameters; `glow-small` has what pays
most there: mixture couplings behind 1x1 convolutions, and variational dequantization. `glow-emoji`
is for emoji in 5 bits. Those whose name ends in -points are for points in the plane.
"""


class _Presets(Mapping[str, Config]):
    """Configs by the names of their presets, each made, and so checked, when it is asked for."""

    def __getitem__(self, name: str) -> Config:
        return _PRESETS[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(_PRESETS)

    def __len__(self) -> int:
        return len(_PRESETS)


PRESETS: Mapping[str, Config] = _Presets()

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
