"""Actnorm and the 1x1 convolution after it, as one product."""

import torch
from torch import Tensor

from glowkit.bijections.folded_kernel import ScaledProduct, fold
from glowkit.bijections.linear import Conv1x1, mix
from glowkit.bijections.normalization import Actnorm
from glowkit.core import Bijection, pixelwise_ladj
from glowkit.nets.keeping import Keeping
from glowkit.nets.scaled import LOG_SCALE_FACTOR


class ActnormConv1x1(Keeping, Bijection):
    """Actnorm, then the 1x1 convolution, folded: y = W diag(s) x + W (s ∘ b), s = exp(3 · logs).

    inverse: x = diag(1/s) W⁻¹ y − b; ladj = pixels · (3 Σ logs + ln |det W|). The same map as the
    two layers in a chain, in one pass over the activations where they take three. The products of
    parameters are made in float64. Shapes: (N, C, H, W), or (N, C) for vectors. Cost: C²
    multiplications a pixel. Source: Glow, sections 3.1 and 3.2; folding them is ours.

    Args:
        actnorm: the first layer; `glowkit.initialize` sets it from data, as anywhere.
        conv: the second.

    Raises:
        GlowkitError: when used before actnorm was initialised.

    >>> import torch
    >>> from glowkit.bijections import PlainMatrix
    >>> layer = ActnormConv1x1(Actnorm(2), Conv1x1(PlainMatrix(2)))
    >>> layer.actnorm.initialize_from(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
    >>> x = torch.randn(1, 2)
    >>> torch.allclose(layer(x)[0], layer.conv(layer.actnorm(x)[0])[0], atol=1e-5)
    True
    """

    reads_context = False

    def __init__(self, actnorm: Actnorm, conv: Conv1x1) -> None:
        super().__init__()
        self.actnorm = actnorm
        self.conv = conv

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not self.actnorm.ready():  # Apart, so that the first batch is seen by it.
            x, ladj = self.actnorm(x)
            y, more = self.conv(x)
            return y, ladj + more
        if self.keeps():
            matrix, shift, total = self.kept(("forward", x.dtype), lambda: self._folded(x.dtype))
            return mix(x, matrix, shift), pixelwise_ladj(x, total)
        matrix, log_det = self.conv.matrix.matrix_and_log_det()
        bias, logs = self.actnorm.bias, self.actnorm.logs
        pixels = x.flatten(2) if x.dim() > 2 else x.T[None]
        y, log_scale = ScaledProduct.of(pixels, matrix, bias, logs, LOG_SCALE_FACTOR)
        y = y.view(x.shape) if x.dim() > 2 else y[0].T
        return y, pixelwise_ladj(x, log_scale + log_det)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.actnorm.require_ready()
        matrix, shift, total = self.kept(("inverse", y.dtype), lambda: self._unfolded(y.dtype))
        return mix(y, matrix, shift), -pixelwise_ladj(y, total)

    def _folded(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        matrix, log_det = self.conv.matrix.matrix_and_log_det()
        scaled, shift, _, total = fold(
            matrix, self.actnorm.bias, self.actnorm.logs, LOG_SCALE_FACTOR
        )
        return scaled.to(dtype), shift.to(dtype), total + log_det

    def _unfolded(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        log_scale = self.actnorm.log_scale().double()
        inverse, log_det = self.conv.matrix.inverse_and_log_det()
        matrix = inverse / log_scale.exp()[:, None]
        return matrix.to(dtype), -self.actnorm.bias, log_scale.sum() + log_det
