"""Presets: the published settings, and small models that are good on a CPU."""

from typing import Any

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

SETTINGS: dict[str, dict[str, Any]] = {
    "glow-tiny": {
        "family": "glow",
        "image_shape": (1, 8, 8),
        "levels": 2,
        "steps": 8,
        "width": 64,
        "pixel_levels": 17,
    },
    "glow-small": {
        "family": "glow",
        "image_shape": (1, 28, 28),
        "levels": 2,
        "steps": 8,
        "width": 96,
        "coupling": "mixture",
        "last_kernel": 1,
        "dequantization": "variational",
    },
    "glow-emoji": {
        "family": "glow",
        "image_shape": CIFAR,
        "steps": 6,
        "width": 64,
        "pixel_levels": 32,
        "last_kernel": 1,
    },
    "glow-cifar10": {"family": "glow", "image_shape": CIFAR},
    "glow-imagenet32": {"family": "glow", "image_shape": CIFAR, "steps": 48},
    "glow-imagenet64": {"family": "glow", "image_shape": (3, 64, 64), "levels": 4, "steps": 48},
    "glow-lsun64": {"family": "glow", "image_shape": (3, 64, 64), "levels": 3, "steps": 48},
    "glow-celebahq256": {
        "family": "glow",
        "image_shape": (3, 256, 256),
        "levels": 6,
        "coupling": "additive",
        "pixel_levels": 32,
    },
    "glow-cifar10-conditional": {
        "family": "glow",
        "image_shape": CIFAR,
        "coupling": "additive",
        "pixel_levels": 32,
        "classes": 10,
        "classifier_weight": 0.01,
    },
    "nice-mnist": {"family": "nice", "image_shape": (1, 28, 28)},
    "nice-tiny": {
        "family": "nice",
        "image_shape": (1, 8, 8),
        "width": 172,
        "depth": 2,
        "pixel_levels": 17,
    },
    "realnvp-cifar10": {"family": "realnvp", "image_shape": CIFAR},
    "realnvp-tiny": {
        "family": "realnvp",
        "image_shape": (1, 8, 8),
        "blocks": 1,
        "width": 16,
        "pixel_levels": 17,
    },
    "spline-points": {"family": "points"},
    "mixture-points": {"family": "points", "coupling": "mixture"},
    "glow-points": {"family": "points", "steps": 32, "width": 32, "coupling": "affine"},
    "realnvp-points": {
        "family": "points",
        "steps": 32,
        "width": 32,
        "coupling": "bounded-affine",
        "permutation": "reverse",
        "normalization": "batch-norm",
    },
    "nice-points": {
        "family": "points",
        "steps": 16,
        "coupling": "additive",
        "permutation": "reverse",
        "normalization": "diagonal",
        "prior": "logistic",
    },
    "maf-points": {
        "family": "points",
        "steps": 10,
        "structure": "autoregressive",
        "coupling": "affine",
        "permutation": "reverse",
    },
    "nsf-points": {"family": "points", "steps": 5, "structure": "autoregressive", "bins": 8},
    "ar-tiny": {
        "family": "autoregressive",
        "image_shape": (1, 8, 8),
        "pixel_levels": 17,
    },
    "ar-small": {
        "family": "autoregressive",
        "image_shape": (1, 28, 28),
        "patch": 4,
        "layers": 4,
        "width": 192,
        "heads": 6,
        "inner": 64,
    },
    "tarflow-tiny": {
        "family": "autoregressive",
        "image_shape": (1, 8, 8),
        "head": "affine",
        "blocks": 3,
        "layers": 2,
        "width": 48,
        "inner": 0,
        "neighbours": "previous",
        "pixel_levels": 17,
    },
    "tarflow-imagenet64": {
        "family": "autoregressive",
        "image_shape": (3, 64, 64),
        "head": "affine",
        "blocks": 8,
        "layers": 8,
        "width": 768,
        "heads": 12,
        "inner": 0,
        "neighbours": "previous",
    },
    "flowpp-cifar10": {"family": "flowpp", "image_shape": CIFAR},
    "flowpp-imagenet32": {
        "family": "flowpp",
        "image_shape": CIFAR,
        "couplings": ((0, 7), (3, 3)),
        "pointwise": False,
        "width": 128,
        "blocks": 20,
        "dropout": 0.0,
        "weight_norm": True,
        "head": "concat-elu",
        "dequantization_couplings": 8,
        "dequantization_blocks": 8,
        "context_blocks": 8,
        "context_heads": 4,
        "context_norm": True,
    },
    "flowpp-imagenet64": {
        "family": "flowpp",
        "image_shape": (3, 64, 64),
        "couplings": ((0, 0), *_LARGE_COUPLINGS),
        "blocks": 16,
        **_LARGE_FLOWPP,
    },
    "flowpp-celeba128": {
        "family": "flowpp",
        "image_shape": (3, 128, 128),
        "couplings": ((0, 0), (0, 0), *_LARGE_COUPLINGS),
        "blocks": 12,
        "pixel_levels": 32,
        **_LARGE_FLOWPP,
    },
    "flowpp-tiny": {
        "family": "flowpp",
        "image_shape": (1, 8, 8),
        "couplings": ((0, 3), (2, 1)),
        "width": 24,
        "blocks": 1,
        "components": 4,
        "dropout": 0.0,
        "pixel_levels": 17,
        "dequantization_couplings": 1,
        "dequantization_blocks": 1,
        "context_blocks": 1,
        "context_width": 16,
    },
}
"""By name, as `from_settings` takes them: those of the published models (Glow's from openai/glow's
README), and ours for a CPU.

Those called tiny are for the digits, of about equally many parameters; `glow-small` has what pays
most there: mixture couplings behind 1x1 convolutions, and variational dequantization. `glow-emoji`
is for emoji in 5 bits. Those whose name ends in -points are for points in the plane, and for rows
of tables, whose columns they take their dimensions from.
"""

DEFAULT_PRESET = "glow-tiny"
DEFAULT_POINTS_PRESET = "spline-points"
DEFAULT_TABLE_PRESET = "nsf-points"
