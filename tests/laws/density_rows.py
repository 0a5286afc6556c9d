"""The table of densities that the laws are checked on: a new density is one row."""

from typing import Any

import torch

from glowkit import bijections as b
from glowkit import densities as d
from glowkit.core import Density, initialize
from glowkit.models.continuous import ContinuousConfig, build_continuous
from glowkit.models.flowpp import build_flowpp
from glowkit.models.glow import GlowConfig, build_glow
from glowkit.models.jet import JetConfig, build_jet
from glowkit.models.nice import NICEConfig, build_nice
from glowkit.models.points import PointsConfig, build_points
from glowkit.models.realnvp import RealNVPConfig, build_realnvp
from glowkit.models.residual import ResidualConfig, build_residual
from glowkit.nets import GlowNet, HalfSizeNet, ZeroConv2d, ZeroLinear
from laws.bijection_rows import flowpp_config, step
from laws.row import IMAGE, Row, cube

SMALL = (2, 4, 2)
EVERYWHERE: dict[str, Any] = {"context_features": 3, "conditioning": "everywhere"}
REALNVP = {
    "coupling": "bounded-affine",
    "permutation": "reverse",
    "normalization": "batch-norm",
}
NICE = {
    "coupling": "additive",
    "permutation": "reverse",
    "normalization": "diagonal",
    "prior": "logistic",
    "memory": "checkpoint",
}
MAF = {"structure": "autoregressive", "coupling": "affine", "permutation": "reverse"}


def _residual_points(dimensions: int, **settings: Any) -> Density:
    return build_residual(ResidualConfig(dimensions, blocks=2, width=6, depth=1, **settings))


def _continuous(**settings: Any) -> Density:
    return build_continuous(ContinuousConfig(2, 6, 1, 4, **settings))


QUADRATIC = {"coupling": "quadratic", "encoding": "one-blob", "blobs": 4, "rounds": 2}
NOISE = {
    "pattern": "checkerboard",
    "dequantization_heads": 0,
    "context_norm": True,
    "context_heads": 0,
    "weight_norm": True,
}


def _split(deeper: Density) -> d.Split:
    prior = d.ConditionalNormal(ZeroConv2d(2, 4), (2, 4, 2))
    return d.Split(2, prior, deeper)


def _seeing_split() -> d.Split:
    prior = d.ConditionalNormal(ZeroConv2d(5, 4), SMALL)
    return d.Split(2, prior, d.StandardNormal(SMALL), d.kept_and_context)


def _glow(**settings: Any) -> Density:
    config = GlowConfig((1, 4, 8), **{"levels": 2, "steps": 2, "width": 5, **settings})
    return build_glow(config).density


def _jet() -> Density:
    sizes = {"couplings": 2, "channel_couplings": 1, "layers": 1, "width": 4, "heads": 2}
    return build_jet(JetConfig((1, 4, 4), patch=2, memory="reversible", **sizes)).density


def _nice(**settings: Any) -> Density:
    return build_nice(NICEConfig((1, 3, 3), width=6, depth=2, **settings)).density


def _realnvp(**settings: Any) -> Density:
    """Without its logit, whose domain is the unit interval."""
    config = RealNVPConfig((1, 4, 8), **{"levels": 2, "blocks": 1, "width": 4, **settings})
    return build_realnvp(config).density.density


def _points(dimensions: int = 2, **settings: Any) -> Density:
    return build_points(PointsConfig(dimensions, steps=3, width=8, **settings))


def _bent(coupling: str) -> Density:
    return build_points(PointsConfig(3, steps=3, coupling=coupling))


def _flowpp(**settings: Any) -> Density:
    """Without its logit, whose domain is the unit interval."""
    return build_flowpp(flowpp_config(**settings)).density.density


def _flowpp_noise(**settings: Any) -> Density:
    model = build_flowpp(flowpp_config(**settings))
    # Its layers see data in the direction of sampling, which is what the whole model uses.
    initialize(model, torch.randint(0, 256, (16, 1, 4, 4), dtype=torch.uint8))
    return model.noise


def _top(border: bool, embedding: bool) -> Density:
    return d.TopPrior(
        IMAGE,
        ZeroConv2d(8, 8) if border else None,
        ZeroLinear(3, 8) if embedding else None,
    )


def _with_context() -> Density:
    net = GlowNet(1, 2, width=4, context_features=3)
    flow = d.Then(b.Coupling(1, net, b.Affine()), d.StandardNormal(SMALL))
    return d.WithContext(HalfSizeNet(1, 3), flow)


def _noise(coupling: str = "mixture") -> Density:
    settings = {"dequantization": "variational", "dequantization_steps": 2, "last_kernel": 1}
    config = GlowConfig(
        (1, 4, 8), levels=1, steps=1, coupling=coupling, dequantization_width=5, **settings
    )
    model = build_glow(config)
    # Its actnorms see data in the direction of sampling, which is what the whole model uses.
    initialize(model, torch.randint(0, 256, (8, 1, 4, 8), dtype=torch.uint8))
    return model.noise


def _small_coupling() -> b.Coupling:
    return b.Coupling(1, GlowNet(1, 2, width=4, context_features=3), b.Affine())


DENSITIES = [
    Row("standard-normal", lambda: d.StandardNormal((5,)), (5,), tolerance=0),
    Row("standard-logistic", lambda: d.StandardLogistic((5,)), (5,), tolerance=0),
    Row("uniform", lambda: d.Uniform((5,)), (5,), unit_interval=True, tolerance=1e-6),
    Row("half-normal", lambda: d.HalfNormal((5,)), (5,), unit_interval=True, tolerance=1e-6),
    Row(
        "conditional-normal",
        lambda: d.ConditionalNormal(ZeroConv2d(3, 4), SMALL),
        SMALL,
        context=(3, 4, 2),
    ),
    Row("top-learned", lambda: _top(True, False), IMAGE),
    Row("top-class", lambda: _top(False, True), IMAGE, context=(3,)),
    Row("top-learned-class", lambda: _top(True, True), IMAGE, context=(3,)),
    Row(
        "classified",
        lambda: d.Classified(_top(True, True), ZeroLinear(4, 3)),
        IMAGE,
        context=(3,),
    ),
    Row("then", lambda: d.Then(step(), d.StandardNormal(IMAGE)), IMAGE),
    Row("split", lambda: _split(d.StandardNormal(SMALL)), IMAGE),
    Row(
        "split-context",
        lambda: _split(d.Then(_small_coupling(), d.StandardNormal(SMALL))),
        IMAGE,
        context=(3,),
    ),
    Row("split-seen-context", _seeing_split, IMAGE, context=(3,)),
    Row("with-vectors", lambda: d.WithVectors(3, _top(True, True)), IMAGE, context=(3,)),
    Row("glow-affine", _glow, (1, 4, 8)),
    Row("glow-second-half", lambda: _glow(kept_half="second", entry="preactivation"), (1, 4, 8)),
    Row(
        "glow-logit",
        lambda: _glow(preprocessing="logit", coupling="tanh-affine"),
        (1, 4, 8),
        unit_interval=True,
    ),
    Row("glow-top-context", lambda: _glow(context_features=3), (1, 4, 8), context=(3,)),
    Row("glow-context", lambda: _glow(**EVERYWHERE), (1, 4, 8), context=(3,)),
    Row(
        "glow-context-checkpoint",
        lambda: _glow(**EVERYWHERE, memory="checkpoint", coupling="additive"),
        (1, 4, 8),
        context=(3,),
    ),
    Row(
        "glow-context-mixture",
        lambda: _glow(**EVERYWHERE, coupling="mixture", learn_top=False),
        (1, 4, 8),
        context=(3,),
    ),
    Row("glow-additive", lambda: _glow(coupling="additive"), (1, 4, 8)),
    Row("glow-reversible", lambda: _glow(memory="reversible"), (1, 4, 8)),
    Row("glow-plain", lambda: _glow(permutation="conv1x1-plain"), (1, 4, 8)),
    Row("glow-shuffle", lambda: _glow(permutation="shuffle", learn_top=False), (1, 4, 8)),
    Row("glow-mixture", lambda: _glow(coupling="mixture", last_kernel=1), (1, 4, 8)),
    Row("glow-spline", lambda: _glow(coupling="spline", bins=4), (1, 4, 8)),
    Row("with-context", _with_context, SMALL, context=(1, 8, 4)),
    Row("variational", _noise, (1, 4, 8), context=(1, 4, 8), unit_interval=True),
    Row("variational-affine", lambda: _noise(coupling="affine"), (1, 4, 8), (1, 4, 8), True),
    Row("jet", _jet, (1, 4, 4)),
    Row("nice-logistic", _nice, (1, 3, 3)),
    Row("nice-reversible", lambda: _nice(memory="reversible"), (1, 3, 3)),
    Row("nice-normal", lambda: _nice(prior="normal", memory="checkpoint"), (1, 3, 3)),
    Row("realnvp", _realnvp, (1, 4, 8)),
    Row("realnvp-single", lambda: _realnvp(levels=1, memory="checkpoint"), (1, 4, 8)),
    Row("points-glow", lambda: _points(coupling="affine"), (2,)),
    Row("points-realnvp", lambda: _points(**REALNVP), (2,)),
    Row("points-spline", lambda: _points(coupling="spline", bins=5), (2,)),
    Row("points-mixture", lambda: _points(5, coupling="mixture", components=3), (5,)),
    Row("points-nice", lambda: _points(5, **NICE), (5,)),
    Row("points-maf", lambda: _points(5, **MAF), (5,)),
    Row("points-nsf", lambda: _points(3, structure="autoregressive", bins=5), (3,)),
    Row("points-nsf-one", lambda: _points(1, structure="autoregressive", bins=5), (1,)),
    Row("points-planar", lambda: _bent("planar"), (3,)),
    Row("points-radial", lambda: _bent("radial"), (3,)),
    Row("points-standardized", lambda: _points(3, preprocessing="standardize"), (3,)),
    Row(
        "points-standardized-context",
        lambda: _points(3, preprocessing="standardize", context_features=2),
        (3,),
        context=(2,),
    ),
    Row("points-maf-context", lambda: _points(3, **MAF, context_features=2), (3,), context=(2,)),
    Row("points-context", lambda: _points(3, context_features=2), (3,), context=(2,)),
    Row("cube", lambda: cube(3), (3,), unit_interval=True),
    Row("cube-one", lambda: cube(1, coupling="linear"), (1,), unit_interval=True),
    Row("cube-quadratic", lambda: cube(2, **QUADRATIC), (2,), unit_interval=True),
    Row("residual-points", lambda: _residual_points(2), (2,)),
    Row(
        "residual-points-context",
        lambda: _residual_points(2, preprocessing="standardize", context_features=1),
        (2,),
        context=(1,),
    ),
    Row("continuous-likelihood", lambda: _continuous(training="likelihood"), (2,), law=1e-6),
    Row(
        "continuous-matching-context",
        lambda: _continuous(preprocessing="standardize", context_features=1),
        (2,),
        context=(1,),
        law=1e-6,
    ),
    Row("flowpp", _flowpp, (1, 4, 4)),
    Row("flowpp-checkerboard", lambda: _flowpp(pattern="checkerboard", heads=0), (1, 4, 4)),
    Row("flowpp-checkpoint", lambda: _flowpp(memory="checkpoint", dropout=0.5), (1, 4, 4)),
    Row("flowpp-reversible", lambda: _flowpp(memory="reversible"), (1, 4, 4)),
    Row("flowpp-noise", _flowpp_noise, (1, 4, 4), (1, 4, 4), True),
    Row("flowpp-noise-checkerboard", lambda: _flowpp_noise(**NOISE), (1, 4, 4), (1, 4, 4), True),
    Row("glow-reverse", lambda: _glow(permutation="reverse", memory="checkpoint"), (1, 4, 8)),
]
