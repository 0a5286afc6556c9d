"""The table of bijections and the table of densities that the laws are checked on.

A new layer is one row. Each row builds its module with fresh weights; `make` then gives every
parameter a random, non-trivial value, because a zero-initialised layer hides most mistakes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from glowkit import bijections as b
from glowkit import densities as d
from glowkit.core import Chain, Density, NoiseSpec, initialize, sum_per_example
from glowkit.models.cube import CubeConfig, build_cube
from glowkit.models.flowpp import FlowPPConfig, build_flowpp, unit
from glowkit.models.glow import GlowConfig, build_glow
from glowkit.models.nice import NICEConfig, build_nice
from glowkit.models.points import PointsConfig, build_points
from glowkit.models.realnvp import RealNVPConfig, build_realnvp
from glowkit.nets import (
    MADE,
    MLP,
    CausalNet,
    Constant,
    GlowNet,
    HalfSizeNet,
    MaskedSignPairs,
    OneBlob,
    Preactivation,
    ResidualNet,
    SignPairs,
    ZeroConv2d,
    ZeroLinear,
)

IMAGE = (4, 4, 2)
BOARD = (2, 4, 3)
HALF = (torch.arange(4) >= 2).view(-1, 1, 1)  # the second half of IMAGE's channels
BATCH = 3
GAIN = 0.03  # random weights of a larger gain lose invertibility with depth, whatever the layer


@dataclass(frozen=True)
class Row:
    """A module to check, the shape of one example, and what else its laws need."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    context: tuple[int, ...] | None = None
    unit_interval: bool = False
    tolerance: float = 2e-5  # of the float32 round trip

    def __str__(self) -> str:
        return self.name


def _coupling(transformer: b.Transformer, context: int = 0) -> b.Coupling:
    net = GlowNet(2, 2 * transformer.parameters_per_channel, width=6, context_features=context)
    return b.Coupling(2, net, transformer)


def _noisy(channels: int) -> b.PlainMatrix:
    return b.PlainMatrix(channels, b.noisy_identity)


def _coupling_of(channels: int) -> b.Coupling:
    half = channels // 2
    return b.Coupling(half, GlowNet(half, 2 * half, width=3), b.Affine())


def _blob_coupling() -> b.Coupling:
    transformer = b.PiecewiseLinear(3, 2.0)
    return b.Coupling(2, OneBlob(MLP(8, 9, width=8), 4, 2.0), transformer)


def _vector_coupling(transformer: b.Transformer, context: int = 0) -> b.Coupling:
    net = MLP(2, 3 * transformer.parameters_per_channel, width=8, context_features=context)
    return b.Coupling(2, net, transformer)


def _autoregressive(
    transformer: b.Transformer, context: int = 0, size: int = 5, depth: int = 2
) -> b.Autoregressive:
    net = MADE(size, transformer.parameters_per_channel, 8, depth, context)
    return b.Autoregressive(net, transformer)


def _tokens(
    transformer: b.Transformer, context: int = 0, inner: int = 0, columns: int = 0
) -> b.TokenAutoregressive:
    outputs = transformer.parameters_per_channel
    net = CausalNet(2, 6, outputs, 4, 2, 2, context, inner, columns=columns)
    return b.TokenAutoregressive(net, transformer)


def _preactivated() -> b.Coupling:
    return b.Coupling(2, GlowNet(2, 4, 6, context_features=3, entry=Preactivation(2)), b.Affine())


def _residual() -> ResidualNet:
    return ResidualNet(SignPairs(2), 4, width=5, blocks=1)


def _masked(transformer: b.Transformer) -> b.MaskedCoupling:
    kept = b.checkerboard(4, 3, 1)
    return b.MaskedCoupling(
        kept, ResidualNet(MaskedSignPairs(2, kept), 4, width=5, blocks=1), transformer
    )


def _flowpp_config(**settings: Any) -> FlowPPConfig:
    small = {"couplings": ((0, 2), (2, 1)), "width": 4, "blocks": 1, "components": 2, "heads": 2}
    noise = {"dequantization_couplings": 2, "dequantization_blocks": 1, "dequantization_heads": 2}
    context = {"context_blocks": 1, "context_width": 4, "context_heads": 2}
    return FlowPPConfig((1, 4, 4), **{**small, **noise, **context, **settings})


def _unit(heads: int = 2, context: int = 0, **settings: Any) -> Chain:
    return unit(_flowpp_config(**settings), IMAGE, 1, heads, context)


def _step(context: int = 0) -> Chain:
    folded = b.ActnormConv1x1(b.Actnorm(4), b.Conv1x1(b.LUMatrix(4)))
    return Chain([folded, _coupling(b.Affine(), context)])


def _glow_step(
    transformer: b.Transformer, context: int = 0, matrix: type[b.InvertibleMatrix] = b.LUMatrix
) -> b.GlowStep:
    folded = b.ActnormConv1x1(b.Actnorm(4), b.Conv1x1(matrix(4)))
    return b.GlowStep(folded, _coupling(transformer, context))


BIJECTIONS = [
    Row("actnorm", lambda: b.Actnorm(4), IMAGE, tolerance=3e-6),
    Row("actnorm-vector", lambda: b.Actnorm(5), (5,), tolerance=3e-6),
    Row(
        "actnorm-conv1x1",
        lambda: b.ActnormConv1x1(b.Actnorm(4), b.Conv1x1(b.LUMatrix(4))),
        IMAGE,
        tolerance=3e-6,
    ),
    Row(
        "actnorm-conv1x1-vector",
        lambda: b.ActnormConv1x1(b.Actnorm(5), b.Conv1x1(b.PlainMatrix(5))),
        (5,),
        tolerance=3e-6,
    ),
    Row("conv1x1-lu", lambda: b.Conv1x1(b.LUMatrix(4)), IMAGE),
    Row("conv1x1-plain", lambda: b.Conv1x1(b.PlainMatrix(4)), IMAGE),
    Row("conv1x1-lu-vector", lambda: b.Conv1x1(b.LUMatrix(5)), (5,)),
    Row("reverse", lambda: b.reverse(4), IMAGE, tolerance=0),
    Row("shuffle", lambda: b.shuffle(5), (5,), tolerance=0),
    Row("swap-halves", lambda: b.swap_halves(4), IMAGE, tolerance=0),
    Row("diagonals-first", lambda: b.diagonals_first(8), (8, 2, 3), tolerance=0),
    Row("even-first", lambda: b.even_first(5), (5,), tolerance=0),
    Row("block-major", lambda: b.block_major(8), (8, 2, 3), tolerance=0),
    Row("stripes", b.Stripes, (3, 3, 4), tolerance=0),
    Row("checkerboard", b.Checkerboard, (2, 3, 6), tolerance=0),
    Row("halves", lambda: b.Halves(b.Conv1x1(_noisy(2)), _coupling_of(2)), IMAGE),
    Row("elementwise-norm", lambda: b.ElementwiseNorm(IMAGE), IMAGE, tolerance=3e-6),
    Row("flowpp-unit", _unit, IMAGE),
    Row("flowpp-unit-context", lambda: _unit(context=3, head="concat-elu"), IMAGE, (3, 4, 2)),
    Row("flowpp-unit-weight-norm", lambda: _unit(weight_norm=True, pointwise=False), IMAGE),
    Row("flowpp-unit-no-attention", lambda: _unit(heads=0), IMAGE),
    Row("reshape", lambda: b.Reshape((3, 4, 2), (24,)), (3, 4, 2), tolerance=0),
    Row("squeeze", b.Squeeze, (3, 4, 6), tolerance=0),
    Row("shift", lambda: b.Shift(-0.5), IMAGE, tolerance=1e-6),
    Row("box", lambda: b.Box(torch.tensor([-1.0, 0, 2]), torch.tensor([1, 0.5, 7])), (3,)),
    Row("elementwise-affine", lambda: b.ElementwiseAffine((5,)), (5,), tolerance=3e-6),
    Row("elementwise-scale", lambda: b.ElementwiseScale((5,)), (5,), tolerance=3e-6),
    Row("logit", b.Logit, IMAGE, unit_interval=True, tolerance=2e-7),
    Row("sigmoid", lambda: b.Sigmoid(1e-4), IMAGE, tolerance=2e-5),
    Row("inverse", lambda: b.Inverse(b.Logit()), IMAGE),
    Row("inverse-squeeze", lambda: b.Inverse(b.Squeeze()), IMAGE, tolerance=0),
    Row("inverse-coupling", lambda: b.Inverse(_coupling(b.Affine(), 3)), IMAGE, (3,)),
    Row("coupling-additive", lambda: _coupling(b.Additive()), IMAGE, tolerance=5e-7),
    Row("coupling-affine", lambda: _coupling(b.Affine()), IMAGE, tolerance=3e-6),
    Row("coupling-affine-context", lambda: _coupling(b.Affine(), 3), IMAGE, context=(3,)),
    Row("coupling-affine-map", lambda: _coupling(b.Affine(), 3), IMAGE, context=(3, 4, 2)),
    Row("coupling-vector", lambda: _vector_coupling(b.Affine()), (5,)),
    Row("coupling-vector-context", lambda: _vector_coupling(b.Affine(), 2), (5,), context=(2,)),
    Row("coupling-mixture", lambda: _coupling(b.LogisticMixture(4)), IMAGE),
    Row("coupling-mixture-one", lambda: _coupling(b.LogisticMixture(1)), IMAGE),
    Row("coupling-mixture-map", lambda: _coupling(b.LogisticMixture(3), 3), IMAGE, (3, 4, 2)),
    Row("coupling-mixture-vector", lambda: _vector_coupling(b.LogisticMixture(4)), (5,)),
    Row("coupling-spline", lambda: _coupling(b.RationalQuadraticSpline(5, 2.0)), IMAGE),
    Row("coupling-spline-vector", lambda: _vector_coupling(b.RationalQuadraticSpline(8, 3)), (5,)),
    Row("coupling-linear", lambda: _coupling(b.PiecewiseLinear(5, 2.0)), IMAGE),
    Row("coupling-linear-vector", lambda: _vector_coupling(b.PiecewiseLinear(8, 3)), (5,)),
    Row("coupling-one-blob", _blob_coupling, (5,)),
    Row("coupling-constant", lambda: b.Coupling(0, Constant(6), b.Affine()), (3,)),
    Row("coupling-quadratic", lambda: _coupling(b.PiecewiseQuadratic(5, 2.0)), IMAGE),
    Row("coupling-quadratic-vector", lambda: _vector_coupling(b.PiecewiseQuadratic(8, 3)), (5,)),
    Row("coupling-tanh-affine", lambda: _coupling(b.TanhAffine(1)), IMAGE),
    Row("coupling-bounded-affine", lambda: _vector_coupling(b.BoundedAffine()), (5,)),
    Row("coupling-tanh-affine-channels", lambda: _coupling(b.TanhAffine(1, (2, 1, 1))), IMAGE),
    Row("coupling-preactivation", _preactivated, IMAGE, context=(3,)),
    Row("coupling-checkerboard", lambda: _masked(b.TanhAffine(1)), BOARD),
    Row("coupling-checkerboard-affine", lambda: _masked(b.Affine()), BOARD),
    Row("coupling-residual", lambda: b.Coupling(2, _residual(), b.TanhAffine(1)), IMAGE),
    Row("batch-norm-board", lambda: b.MaskedBatchNorm(2, b.checkerboard(4, 3, 0)), BOARD),
    Row("batch-norm-channels", lambda: b.MaskedBatchNorm(4, HALF), IMAGE),
    Row("batch-norm-vector", lambda: b.MaskedBatchNorm(5, torch.ones(5)), (5,)),
    Row("autoregressive-affine", lambda: _autoregressive(b.Affine()), (5,)),
    Row("autoregressive-spline", lambda: _autoregressive(b.RationalQuadraticSpline(8, 3)), (5,)),
    Row("autoregressive-mixture", lambda: _autoregressive(b.LogisticMixture(3)), (5,)),
    Row("autoregressive-context", lambda: _autoregressive(b.Affine(), 2), (5,), context=(2,)),
    Row("autoregressive-linear", lambda: _autoregressive(b.Affine(), 2, 5, 0), (5,), context=(2,)),
    Row("autoregressive-one", lambda: _autoregressive(b.Affine(), size=1), (1,)),
    Row("autoregressive-one-context", lambda: _autoregressive(b.Affine(), 2, 1), (1,), (2,)),
    Row("iaf", lambda: b.Inverse(_autoregressive(b.Affine(), 2)), (5,), context=(2,)),
    Row("tokens-affine", lambda: _tokens(b.TarAffine()), (2, 6)),
    Row("tokens-inner", lambda: _tokens(b.TarAffine(), inner=3, columns=3), (2, 6)),
    Row("tokens-mixture", lambda: _tokens(b.LogisticMixture(2), inner=3), (2, 6)),
    Row("tokens-context", lambda: _tokens(b.TarAffine(), 3, 3), (2, 6), context=(3,)),
    Row(
        "tokens-blocks",
        lambda: Chain([_tokens(b.TarAffine()), b.Flip(), _tokens(b.TarAffine())]),
        (2, 6),
    ),
    Row("patches", lambda: b.Patches((1, 4, 6), 2), (1, 4, 6), tolerance=0),
    Row("flip", b.Flip, (2, 6), tolerance=0),
    Row("scale", lambda: b.Scale(2.0), IMAGE, tolerance=0),
    Row("standardize", lambda: b.Standardize(5), (5,), tolerance=3e-6),
    Row("step", _step, IMAGE),
    Row("step-context", lambda: _step(3), IMAGE, context=(3,)),
    Row("glow-step", lambda: _glow_step(b.Affine()), IMAGE),
    Row("glow-step-additive", lambda: _glow_step(b.Additive()), IMAGE),
    Row("glow-step-mixture", lambda: _glow_step(b.LogisticMixture(3)), IMAGE),
    Row("glow-step-spline", lambda: _glow_step(b.RationalQuadraticSpline(5, 2.0)), IMAGE),
    Row("glow-step-tanh-affine", lambda: _glow_step(b.TanhAffine(1)), IMAGE),
    Row("glow-step-plain", lambda: _glow_step(b.Affine(), matrix=b.PlainMatrix), IMAGE),
    Row("glow-step-context", lambda: _glow_step(b.Affine(), 3), IMAGE, context=(3,)),
    Row("glow-step-map", lambda: _glow_step(b.Additive(), 3), IMAGE, context=(3, 4, 2)),
    Row("glow-step-mixture-map", lambda: _glow_step(b.LogisticMixture(2), 3), IMAGE, (3, 4, 2)),
    Row(
        "chain-recompute",
        lambda: Chain([_glow_step(b.Affine(), 3), _glow_step(b.Additive())], "recompute"),
        IMAGE,
        context=(3,),
    ),
    Row("chain-checkpoint", lambda: Chain([_step(), _step()], "checkpoint"), IMAGE),
    Row("chain-reversible", lambda: Chain([_step(3), _step(3)], "reversible"), IMAGE, (3,)),
    Row("chain-empty", lambda: Chain([]), IMAGE, tolerance=0),
]


def _split(deeper: Density) -> d.Split:
    prior = d.ConditionalNormal(ZeroConv2d(2, 4), (2, 4, 2))
    return d.Split(2, prior, deeper)


def _seeing_split() -> d.Split:
    prior = d.ConditionalNormal(ZeroConv2d(5, 4), SMALL)
    return d.Split(2, prior, d.StandardNormal(SMALL), d.kept_and_context)


EVERYWHERE: dict[str, Any] = {"context_features": 3, "conditioning": "everywhere"}


def _glow(**settings: Any) -> Density:
    config = GlowConfig((1, 4, 8), **{"levels": 2, "steps": 2, "width": 5, **settings})
    return build_glow(config).density


def _nice(**settings: Any) -> Density:
    return build_nice(NICEConfig((1, 3, 3), width=6, depth=2, **settings)).density


def _realnvp(**settings: Any) -> Density:
    """Without its logit, whose domain is the unit interval."""
    config = RealNVPConfig((1, 4, 8), **{"levels": 2, "blocks": 1, "width": 4, **settings})
    return build_realnvp(config).density.density


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


def _points(dimensions: int = 2, **settings: Any) -> Density:
    return build_points(PointsConfig(dimensions, steps=3, width=8, **settings))


QUADRATIC = {"coupling": "quadratic", "encoding": "one-blob", "blobs": 4, "rounds": 2}


def _cube(dimensions: int, **settings: Any) -> Density:
    return build_cube(CubeConfig(dimensions, width=8, depth=1, bins=5, **settings))


def _flowpp(**settings: Any) -> Density:
    """Without its logit, whose domain is the unit interval."""
    return build_flowpp(_flowpp_config(**settings)).density.density


def _flowpp_noise(**settings: Any) -> Density:
    model = build_flowpp(_flowpp_config(**settings))
    # Its layers see data in the direction of sampling, which is what the whole model uses.
    initialize(model, torch.randint(0, 256, (16, 1, 4, 4), dtype=torch.uint8))
    return model.noise


def _top(border: bool, embedding: bool) -> Density:
    return d.TopPrior(
        IMAGE,
        ZeroConv2d(8, 8) if border else None,
        ZeroLinear(3, 8) if embedding else None,
    )


SMALL = (2, 4, 2)
NOISE = {
    "pattern": "checkerboard",
    "dequantization_heads": 0,
    "context_norm": True,
    "context_heads": 0,
    "weight_norm": True,
}


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


DENSITIES = [
    Row("standard-normal", lambda: d.StandardNormal((5,)), (5,), tolerance=0),
    Row("standard-logistic", lambda: d.StandardLogistic((5,)), (5,), tolerance=0),
    Row("uniform", lambda: d.Uniform((5,)), (5,), unit_interval=True, tolerance=1e-6),
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
    Row("then", lambda: d.Then(_step(), d.StandardNormal(IMAGE)), IMAGE),
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
    Row("points-standardized", lambda: _points(3, preprocessing="standardize"), (3,)),
    Row(
        "points-standardized-context",
        lambda: _points(3, preprocessing="standardize", context_features=2),
        (3,),
        context=(2,),
    ),
    Row("points-maf-context", lambda: _points(3, **MAF, context_features=2), (3,), context=(2,)),
    Row("points-context", lambda: _points(3, context_features=2), (3,), context=(2,)),
    Row("cube", lambda: _cube(3), (3,), unit_interval=True),
    Row("cube-one", lambda: _cube(1, coupling="linear"), (1,), unit_interval=True),
    Row("cube-quadratic", lambda: _cube(2, **QUADRATIC), (2,), unit_interval=True),
    Row("flowpp", _flowpp, (1, 4, 4)),
    Row("flowpp-checkerboard", lambda: _flowpp(pattern="checkerboard", heads=0), (1, 4, 4)),
    Row("flowpp-checkpoint", lambda: _flowpp(memory="checkpoint", dropout=0.5), (1, 4, 4)),
    Row("flowpp-reversible", lambda: _flowpp(memory="reversible"), (1, 4, 4)),
    Row("flowpp-noise", _flowpp_noise, (1, 4, 4), (1, 4, 4), True),
    Row("flowpp-noise-checkerboard", lambda: _flowpp_noise(**NOISE), (1, 4, 4), (1, 4, 4), True),
    Row("glow-reverse", lambda: _glow(permutation="reverse", memory="checkpoint"), (1, 4, 8)),
]


def _small_coupling() -> b.Coupling:
    return b.Coupling(1, GlowNet(1, 2, width=4, context_features=3), b.Affine())


def make(row: Row, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    """Build a row's module, initialise it from data, and give its parameters random values."""
    torch.manual_seed(seed)
    module = row.build().to(dtype)
    x, context = example(row, dtype, n=16)
    density = module if isinstance(module, Density) else d.Then(module, _AnyShape())
    initialize(density, x, context)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(GAIN * torch.randn_like(parameter))
    return module.eval()


class _AnyShape(Density):
    """A normal prior for a bijection under test, whatever shape it gives."""

    def encode(self, x: Tensor, *_: Any) -> tuple[list[Tensor], Tensor]:
        return [x], -0.5 * sum_per_example(x.square())

    def decode(self, noises: Any, *_: Any) -> tuple[Tensor, Tensor]:
        return noises[0], -0.5 * sum_per_example(noises[0].square())

    def noise_specs(self) -> list[NoiseSpec]:
        return []


def example(
    row: Row, dtype: torch.dtype = torch.float64, n: int = BATCH, seed: int = 1
) -> tuple[Tensor, Tensor | None]:
    """A batch for a row: x and its context."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *row.shape, dtype=torch.float64, generator=generator)
    if row.unit_interval:
        x = torch.sigmoid(x)
    context = None
    if row.context is not None:
        context = torch.randn(n, *row.context, dtype=torch.float64, generator=generator).to(dtype)
    return x.to(dtype), context


__all__ = ["BIJECTIONS", "DENSITIES", "Row", "example", "make"]
