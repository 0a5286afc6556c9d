"""The table of bijections that the laws are checked on: a new layer is one row."""

from typing import Any

import torch

from glowkit import bijections as b
from glowkit.core import Chain
from glowkit.models.flowpp import FlowPPConfig, unit
from glowkit.nets import (
    MADE,
    MLP,
    CausalNet,
    Constant,
    GlowNet,
    LinearizedNet,
    LipSwish,
    MaskedSignPairs,
    OneBlob,
    Preactivation,
    ResidualNet,
    SignPairs,
    SpectralConv2d,
    ViT,
    lipschitz_mlp,
    velocity_mlp,
)
from laws.row import IMAGE, Row

BOARD = (2, 4, 3)
HALF = (torch.arange(4) >= 2).view(-1, 1, 1)  # the second half of IMAGE's channels


def _coupling(transformer: b.Transformer, context: int = 0) -> b.Coupling:
    net = GlowNet(2, 2 * transformer.parameters_per_channel, width=6, context_features=context)
    return b.Coupling(2, net, transformer)


def _noisy(channels: int) -> b.PlainMatrix:
    return b.PlainMatrix(channels, b.noisy_identity)


def _attending() -> b.Coupling:
    return b.Coupling(2, ViT(2, 4, (4, 2), 4, 1, 2, context_features=3), b.CentredAffine())


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


def _contraction(log_det: b.LogDet, bound: float = 0.9, context: int = 0) -> b.Residual:
    return b.Residual(lipschitz_mlp(3, 6, 2, bound, context), log_det)


def _convolved() -> b.Residual:
    sizes: dict[str, Any] = {"kernel_size": 3, "size": (2, 3), "bound": 0.9}
    layers = [SpectralConv2d(1, 3, **sizes), LipSwish(), SpectralConv2d(3, 1, **sizes)]
    with torch.no_grad():  # below their bounds: no derivative goes through a power iteration
        for layer in (layers[0], layers[2]):
            layer.weight.mul_(0.3)
    return b.Residual(LinearizedNet(layers), b.ExactLogDet())


def _integrated(context: int = 0) -> b.Integrate:
    return b.Integrate(velocity_mlp(3, 6, 2, 5 + context), 4, b.ExactDivergence())


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


def flowpp_config(**settings: Any) -> FlowPPConfig:
    small = {"couplings": ((0, 2), (2, 1)), "width": 4, "blocks": 1, "components": 2, "heads": 2}
    noise = {"dequantization_couplings": 2, "dequantization_blocks": 1, "dequantization_heads": 2}
    context = {"context_blocks": 1, "context_width": 4, "context_heads": 2}
    return FlowPPConfig((1, 4, 4), **{**small, **noise, **context, **settings})


def _unit(heads: int = 2, context: int = 0, **settings: Any) -> Chain:
    return unit(flowpp_config(**settings), IMAGE, 1, heads, context)


def step(context: int = 0) -> Chain:
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
    Row("row-stripes", b.RowStripes, (3, 4, 3), tolerance=0),
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
    Row("inverse-squeeze", lambda: b.Inverse(b.Squeeze(3)), (9, 2, 2), tolerance=0),
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
    Row("coupling-vit", _attending, IMAGE, context=(3,)),
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
    Row("on", lambda: b.On(2, b.Conv1x1(_noisy(2))), IMAGE),
    Row("on-context", lambda: b.On(5, _vector_coupling(b.Affine(), 2)), (6,), context=(2,)),
    Row("softplus", b.Softplus, (5,), tolerance=2e-6),
    Row("inverse-softplus", lambda: b.Inverse(b.Softplus()), (5,), unit_interval=True),
    Row("gaps", b.Gaps, (5, 2), tolerance=2e-6),
    Row("planar", lambda: b.Planar(5), (5,)),
    Row("planar-one", lambda: b.Planar(1), (1,)),
    Row("radial", lambda: b.Radial(5), (5,)),
    Row("radial-one", lambda: b.Radial(1), (1,)),
    Row("residual", lambda: _contraction(b.ExactLogDet()), (3,)),
    Row("residual-context", lambda: _contraction(b.ExactLogDet(), context=2), (3,), context=(2,)),
    Row("residual-series", lambda: _contraction(b.PowerSeries(18), 0.2), (3,)),
    Row("residual-convolved", _convolved, (1, 2, 3)),
    Row("integrate", _integrated, (3,), law=1e-6),
    Row("integrate-context", lambda: _integrated(2), (3,), context=(2,), law=1e-6),
    Row("tokens-affine", lambda: _tokens(b.TarAffine()), (2, 6)),
    Row("tokens-inner", lambda: _tokens(b.TarAffine(), inner=3, columns=3), (2, 6)),
    Row("tokens-mixture", lambda: _tokens(b.LogisticMixture(2), inner=3), (2, 6)),
    Row("tokens-context", lambda: _tokens(b.TarAffine(), 3, 3), (2, 6), context=(3,)),
    Row("patches", lambda: b.Patches((1, 4, 6), 2), (1, 4, 6), tolerance=0),
    Row("flip", b.Flip, (2, 6), tolerance=0),
    Row("scale", lambda: b.Scale(2.0), IMAGE, tolerance=0),
    Row("standardize", lambda: b.Standardize(5), (5,), tolerance=3e-6),
    Row("step", step, IMAGE),
    Row("step-context", lambda: step(3), IMAGE, context=(3,)),
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
    Row("chain-checkpoint", lambda: Chain([step(), step()], "checkpoint"), IMAGE),
    Row("chain-reversible", lambda: Chain([step(3), step(3)], "reversible"), IMAGE, (3,)),
    Row("chain-empty", lambda: Chain([]), IMAGE, tolerance=0),
]
