"""One step of flow as Glow has it, in one kernel where there is one."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from glowkit.bijections.coupling import Additive, Affine, Coupling, Transformer
from glowkit.bijections.linear import ActnormConv1x1, mix
from glowkit.core.bijection import constant_ladj, pixelwise_ladj
from glowkit.core.chain import Chain
from glowkit.nets.fast import compiled
from glowkit.nets.glow import GlowNet, rounded
from glowkit.nets.kernels.step import (
    ADDITIVE,
    AFFINE,
    NONE,
    StepKernel,
    in_reach,
    inverse,
)

TRANSFORMS: dict[type[Transformer], int] = {Additive: ADDITIVE, Affine: AFFINE}
"""What is part of the kernel; other transformers take the conditioner's output from it."""


class GlowStep(Chain):
    """Actnorm and 1x1 convolution, then a coupling: y = [z₁, T(z₂; net(z₁))] with z = W s (x + b).

    inverse: the coupling's, then the convolution's; ladj: the sum of theirs. The same map as a
    `Chain` of the two, and the same parameters. With a float32 `GlowNet` on a CPU all of it is one
    compiled kernel, where one is available. Shapes: (N, C, H, W). Cost: the conditioner's. Source:
    Glow, figure 2a; the fusion is ours.

    >>> from glowkit.bijections import Actnorm, Conv1x1, LUMatrix
    >>> mixing = ActnormConv1x1(Actnorm(4), Conv1x1(LUMatrix(4)))
    >>> layer = GlowStep(mixing, Coupling(2, GlowNet(2, 4, width=8), Affine()))
    >>> x = torch.randn(8, 4, 2, 2)
    >>> mixing.initialize_from(x)
    >>> torch.allclose(layer.inverse(layer(x)[0])[0], x, atol=1e-5)
    True
    """

    def __init__(self, mixing: ActnormConv1x1, coupling: Coupling) -> None:
        super().__init__([mixing, coupling])

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        found = self._compiled(x)
        if found is None:
            return super().forward(x, context)
        mixing, coupling, net, transform = found
        matrix, shift, log_det = mixing.folded(x.dtype)
        result = FlowKernel.of(
            net.step(coupling.kept, transform),
            *(x, net.added(x.dtype, context), matrix, shift, *net.convolutions()),
        )
        if transform == NONE:
            y, ladj = coupling.forward_given(*result)
        else:
            y, ladj = result if transform == AFFINE else (result, constant_ladj(x))
        return y, ladj + pixelwise_ladj(x, log_det)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        found = None if torch.is_grad_enabled() else self._compiled(y)
        if found is None or found[-1] == NONE:
            return super().inverse(y, context)
        mixing, coupling, net, transform = found
        matrix, shift, log_det = mixing.unfolded()
        x, ladj = inverse(
            net.step(coupling.kept, transform),
            *(y, net.added(y.dtype, context), matrix.to(y.dtype), shift.to(y.dtype)),
            *net.convolutions(),
        )
        return x, ladj + pixelwise_ladj(y, log_det)

    def _compiled(self, x: Tensor) -> tuple[ActnormConv1x1, Coupling, GlowNet, int] | None:
        """The parts, and the transform, where they are what the kernel knows and sizes fit.

        Where they do not, the layers are to say what is wrong.
        """
        mixing, coupling = cast(tuple[ActnormConv1x1, Coupling], tuple(self))
        net, transformer = coupling.net, coupling.transformer
        moved = (x.shape[1] if x.dim() == 4 else 0) - coupling.kept
        if (
            type(mixing) is not ActnormConv1x1
            or type(coupling) is not Coupling
            or type(net) is not GlowNet
            or type(net.entry) is not nn.Identity
            or coupling.kept + moved != len(mixing.actnorm.bias)
            or coupling.kept != net.first.weight.shape[1]
            or len(net.last.bias) != moved * transformer.parameters_per_channel
            or not compiled(x, self)
            or not net.compiles()
            or not in_reach(x, len(net.last.bias))
        ):
            return None
        mixing.actnorm.require_ready()
        return mixing, coupling, net, TRANSFORMS.get(type(transformer), NONE)


class FlowKernel(StepKernel):
    """The step without its log-det of the matrix; see `StepKernel`."""

    @staticmethod
    def plain(*inputs: Any) -> Any:
        step, x, added, matrix, shift, *parameters = inputs
        z = mix(x, matrix, shift)
        z1, z2 = z.split([step.kept, z.shape[1] - step.kept], dim=1)
        h = rounded(step, z1, added, *parameters)
        if step.transform == NONE:
            return z, h
        y2, ladj = (Affine() if step.transform == AFFINE else Additive())(z2, h)
        y = torch.cat([z1, y2], dim=1)
        return (y, ladj) if step.transform == AFFINE else y
