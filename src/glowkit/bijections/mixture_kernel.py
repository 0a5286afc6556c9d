"""The hot loop of Flow++: logit of a mixture's distribution function, with its own backward."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

SMALLEST_LOG_SCALE = -7.0


class MixtureLogit(torch.autograd.Function):
    """y = logit F(x) · exp(s) + t and ln dy/dx, both of x's shape; see `LogisticMixture`.

    With z_k = (x − μ_k) exp(−l_k), a = ln π and sp the softplus: ln F = LSE(a − sp(−z)),
    ln(1 − F) = LSE(a − sp(z)), ln f = LSE(a − sp(−z) − sp(z) − l). sp(−z) = sp(z) − z, so one
    softplus serves all three. Each LSE leaves its softmax over k (p, q and r), and the gradients
    are sums of those: nothing is evaluated again but one sigmoid.

    Shapes: x (N, C, ...), groups (N, C, 2 + 3K, ...). Differentiable once. Measured with K = 4 on
    one shared core, forward and backward, in two runs: 3.3 and 4.0 ms where autograd takes 4.4 and
    4.6 (64 x 2 x 14 x 14 elements), 1.6 and 1.9 where it takes 2.0 and 2.8 (64 x 4 x 7 x 7).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        s, t = groups[:, :, 0].tanh(), groups[:, :, 1]
        logits, means, raw = groups[:, :, 2:].chunk(3, dim=2)
        log_scales = raw.clamp_min(SMALLEST_LOG_SCALE)
        rate = log_scales.neg().exp_()
        a = logits.log_softmax(2)
        z = (x.unsqueeze(2) - means).mul_(rate)
        # The default threshold of 20 would be an error of 2e-9, much in float64.
        sp = F.softplus(z, threshold=40)
        q = a - sp
        p = q + z
        r = (p - sp).sub_(log_scales)
        log_below, log_above, log_f = _softmax_(p), _softmax_(q), _softmax_(r)
        scale = s.exp()
        logit = log_below - log_above
        ctx.save_for_backward(s, scale, logit, a.exp_(), z, rate, p, q, r, raw)
        return logit * scale + t, log_f - log_below - log_above + s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_slope: Tensor) -> tuple[Tensor, Tensor]:
        s, scale, logit, pi, z, rate, p, q, r, raw = ctx.saved_tensors
        n, channels, k, *space = z.shape
        grad = z.new_empty(n, channels, 2 + 3 * k, *space)
        by_logits, by_means, by_scales = grad[:, :, 2:].chunk(3, dim=2)
        gain = grad_y * scale
        grad[:, :, 0] = (gain * logit + grad_slope) * (1 - s * s)
        grad[:, :, 1] = grad_y
        p = p * (gain - grad_slope).unsqueeze(2)
        q = q * (gain + grad_slope).unsqueeze(2)
        r = r * grad_slope.unsqueeze(2)
        total = (p + r).sub_(q)  # by a
        by_z = torch.sigmoid(z).mul_(total + r).neg_().add_(p).add_(r)
        torch.addcmul(total, pi, grad_slope.unsqueeze(2), out=by_logits)
        by_scales.copy_((by_z * z).add_(r).neg_().mul_(raw >= SMALLEST_LOG_SCALE))
        by_x = by_z.mul_(rate)
        by_means.copy_(by_x).neg_()
        return by_x.sum(2), grad


def _softmax_(values: Tensor) -> Tensor:
    """Turn values (N, C, K, ...) into their softmax over K in place; returns their log-sum-exp."""
    largest = values.amax(2, keepdim=True)
    values.sub_(largest).exp_()
    total = values.sum(2, keepdim=True)
    values.div_(total)
    return total.log_().add_(largest).squeeze(2)
