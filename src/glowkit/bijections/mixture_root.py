"""The root of a logistic mixture, by bisection, with derivatives of any order."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.bijections.mixture_kernel import SMALLEST_LOG_SCALE, MixtureLogit, log_terms_of
from glowkit.nets.kernel import Kernel

HALVINGS = {torch.float32: 30, torch.float64: 58}
"""A bracket 1000 wide ends within a few roundings of x = 1; a Newton step comes on top."""


STEPS = 4
"""Newton steps where derivatives of derivatives are asked for; each doubles the order, and one."""


class MixtureRoot(Kernel):
    """x with logit F(x) · exp(s) + t = y; see `LogisticMixture`.

    Shapes: y (N, C, ...), groups (N, C, 2 + 3K, ...); x is of y's shape. The gradient is that of
    the implicit function theorem. Those of higher order, up to 15, come of Newton steps from x,
    which change nothing but the derivatives. Where F is flat to the last digit the slope that is
    divided by has a floor, since a step would be noise.
    """

    @staticmethod
    def plain(y: Tensor, groups: Tensor) -> Tensor:
        with torch.no_grad():
            x = _bisect(y, groups)
        for _ in range(STEPS):
            found, log_slope = MixtureLogit.plain(x, groups)
            x = x - (found - y) / _floored(log_slope.exp())
        return x

    @staticmethod
    def quick(y: Tensor, groups: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        x = _bisect(y, groups)
        (found, log_slope), _ = MixtureLogit.quick(x, groups)
        x = x - (found - y) / _floored(log_slope.exp())
        return x, (x,)

    @staticmethod
    def gradients(
        inputs: Sequence[Tensor], kept: Sequence[Tensor], *grads: Tensor
    ) -> tuple[Tensor, Tensor]:
        slope, by_groups = _slopes(kept[0], inputs[1])
        by_y = grads[0] / slope
        return by_y, -by_y.unsqueeze(2) * by_groups


def _slopes(x: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives of y by x and by groups, each of that one's shape."""
    s, (logits, means, raw) = groups[:, :, :1].tanh(), groups[:, :, 2:].chunk(3, dim=2)
    log_scales = raw.clamp_min(SMALLEST_LOG_SCALE)
    rate = (-log_scales).exp()
    z = (x.unsqueeze(2) - means) * rate
    log_p, log_q, _ = log_terms_of(logits.log_softmax(2), z, log_scales)
    below, above = log_p.logsumexp(2, keepdim=True), log_q.logsumexp(2, keepdim=True)
    p, q, scale = (log_p - below).exp(), (log_q - above).exp(), s.exp()
    by_z = scale * (p * (-z).sigmoid() + q * z.sigmoid())
    by_x = by_z * rate
    by_s = scale * (below - above) * (1 - s * s)
    by_raw = -by_z * z * (raw >= SMALLEST_LOG_SCALE)
    by_groups = torch.cat([by_s, torch.ones_like(by_s), scale * (p - q), -by_x, by_raw], 2)
    return _floored(by_x.sum(2)), by_groups


def _floored(slope: Tensor) -> Tensor:
    return slope.clamp_min(torch.finfo(slope.dtype).eps ** 0.5)


def _bisect(y: Tensor, groups: Tensor) -> Tensor:
    """Bisect logit F(x) = r.

    The k-th component alone would have its root at x_k = μ_k + r exp(l_k). At the smallest
    x_k no σ(z_k) exceeds σ(r), so neither does their mean F; at the largest none is below it.
    """
    logits, means, log_scales = groups[:, :, 2:].chunk(3, dim=2)
    log_scales = log_scales.clamp_min(SMALLEST_LOG_SCALE)
    r = (y - groups[:, :, 1]) * (-groups[:, :, 0].tanh()).exp()
    roots = means + r.unsqueeze(2) * log_scales.exp()
    low, high = roots.amin(2), roots.amax(2)
    # The smaller of F and 1 − F is compared with σ(−|r|): a ratio near 1, so it needs no
    # logarithm, and where it overflows its sign is still right.
    toward = torch.where(r > 0, -1.0, 1.0).to(y.dtype).unsqueeze(2)
    rate = toward * (-log_scales).exp()
    weights = logits.log_softmax(2) + F.softplus(r.abs()).unsqueeze(2)
    for _ in range(HALVINGS.get(y.dtype, 64)):
        middle = (low + high) / 2
        z = (middle.unsqueeze(2) - means) * rate
        ratio = (weights - F.softplus(-z, threshold=40)).exp_().sum(2)
        above = (ratio > 1) == (toward.squeeze(2) > 0)
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2
