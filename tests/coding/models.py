"""Tiny models of every kind that can code, trained for a few steps, and digits for them."""

from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor

import glowkit
from glowkit import FlowPPConfig, GlowConfig, JetConfig, NICEConfig, RealNVPConfig
from glowkit.core import Density


def digits(count: int) -> tuple[Tensor, Tensor]:
    """The first images, 17 levels, and their classes."""
    data = load_digits()
    return torch.tensor(data.images[:count], dtype=torch.uint8)[:, None], torch.tensor(
        data.target[:count]
    )


def glow(**settings: Any) -> GlowConfig:
    return GlowConfig((1, 8, 8), levels=2, steps=1, width=8, pixel_levels=17, **settings)


FEW = {"dequantization": "variational", "dequantization_steps": 1, "dequantization_width": 4}
CONFIGS: dict[str, Any] = {
    "affine": glow(),
    "additive": glow(coupling="additive"),
    "tanh-affine": glow(coupling="tanh-affine"),
    "mixture": glow(coupling="mixture"),
    "spline": glow(coupling="spline"),
    "plain matrix": glow(permutation="conv1x1-plain"),
    "shuffle": glow(permutation="shuffle"),
    "variational": glow(**FEW),
    "variational mixture": glow(coupling="mixture", classes=10, **FEW),
    "logit": glow(preprocessing="logit", learn_top=False),
    "other forms": glow(kept_half="second", entry="preactivation", last_kernel=1),
    "classes": glow(classes=10, classifier_weight=0.1),
    "classes everywhere": glow(classes=10, conditioning="everywhere"),
    "vectors": glow(context_features=3, conditioning="everywhere"),
    "NICE": NICEConfig((1, 8, 8), couplings=2, width=16, depth=2, pixel_levels=17),
    "NICE, normal": NICEConfig((1, 8, 8), couplings=2, width=9, pixel_levels=17, prior="normal"),
    "RealNVP": RealNVPConfig((1, 8, 8), levels=2, blocks=1, width=4, pixel_levels=17),
    "Flow++": FlowPPConfig(
        (1, 8, 8), couplings=((0, 1), (1, 1)), width=8, blocks=1, heads=2, components=2,
        pixel_levels=17, dequantization="uniform",
    ),
    "Flow++, variational": FlowPPConfig(
        (1, 8, 8), couplings=((0, 1),), width=8, blocks=1, heads=2, components=2, pixel_levels=17,
        weight_norm=True, pattern="checkerboard", pointwise=True, dequantization_couplings=1,
        dequantization_blocks=1, dequantization_heads=2, context_width=4, context_blocks=1,
        context_heads=2,
    ),
    "Jet": JetConfig(
        (1, 8, 8), patch=2, couplings=6, channel_couplings=0, layers=1, width=8, heads=2,
        pixel_levels=17, classes=10,
    ),
}  # fmt: skip


def context_of(config: Any, labels: Tensor) -> Tensor | None:
    """Labels or vectors where the model takes them."""
    if getattr(config, "classes", 0):
        return labels
    features = getattr(config, "context_features", 0)
    return torch.randn(len(labels), features) if features else None


def trained(config: Any, seed: int = 0, steps: int = 5, count: int = 64) -> Density:
    """A model that has left its start, where couplings would do nothing."""
    torch.manual_seed(seed)
    images, labels = digits(count)
    context = context_of(config, labels)
    model = glowkit.build(config).train()
    glowkit.initialize(model, images, context)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        glowkit.bits_per_dim(model, images, context).mean().backward()
        optimizer.step()
    return model.eval()
