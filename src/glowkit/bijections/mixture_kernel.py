"""The hot loop of Flow++: logit of a mixture's distribution function, with its own backward."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.nets.kernel import Kernel

SMALLEST_LOG_SCALE = -7.0


class MixtureLogit(Kernel):
    """y = logit F(x) · exp(s) + t and ln dy/dx, both of x's shape; see `LogisticMixture`.

    With z_k = (x − μ_k) exp(−l_k): F = Σ π_k σ(z_k), 1 − F = Σ π_k σ(−z_k) and
    f = Σ π_k exp(−l_k) σ(z_k) σ(−z_k), three sums of positive terms, so none loses precision; in
    the far tails, where they would vanish, their logarithms are summed instead (ln σ(z) = −sp(−z),
    sp the softplus). The terms over their sums (p, q and r) are all that the gradients need.

    Shapes: x (N, C, ...), groups (N, C, 2 + 3K, ...). Cost: 15 passes over K numbers an element
    forward and 16 backward, four of them an exponential.
    """

    @staticmethod
    def plain(x: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        s, t = groups[:, :, 0].tanh(), groups[:, :, 1]
        logits, means, raw = groups[:, :, 2:].chunk(3, dim=2)
        log_scales = raw.clamp_min(SMALLEST_LOG_SCALE)
        z = (x.unsqueeze(2) - means) * (-log_scales).exp()
        below, above, log_f = (
            log_terms.logsumexp(2)
            for log_terms in log_terms_of(logits.log_softmax(2), z, log_scales)
        )
        return (below - above) * s.exp() + t, log_f - below - above + s

    @staticmethod
    def quick(x: Tensor, groups: Tensor) -> tuple[tuple[Tensor, Tensor], Sequence[Tensor]]:
        s, t = groups[:, :, 0].tanh(), groups[:, :, 1]
        logits, means, raw = groups[:, :, 2:].chunk(3, dim=2)
        rate = raw.neg().exp_().clamp_max_(math.exp(-SMALLEST_LOG_SCALE))
        pi = logits.softmax(2)
        z = (x.unsqueeze(2) - means).mul_(rate)
        up = torch.sigmoid(z)
        terms = _terms(pi, up, torch.sigmoid(-z), rate)
        # Asked of the result, NaN included: a component may be far where another is near.
        if not float(torch.stack([total.min() for total in terms.sums]).min()) > _SMALLEST_SUM:
            terms = _far_terms(logits.log_softmax(2), z, raw.clamp_min(SMALLEST_LOG_SCALE))
        log_below, log_above, log_f = terms.logs
        scale = s.exp()
        logit = log_below - log_above
        kept = (s, scale, logit, pi, z, up, rate, *terms.each, *terms.sums)
        return (logit * scale + t, log_f - log_below - log_above + s), kept

    @staticmethod
    def gradients(
        inputs: Sequence[Tensor], kept: Sequence[Tensor], *grads: Tensor
    ) -> tuple[Tensor, Tensor]:
        s, scale, logit, pi, z, up, rate, p, q, r, below, above, f = kept
        raw, (grad_y, grad_slope) = inputs[1][:, :, 2:].chunk(3, dim=2)[2], grads
        n, channels, k, *space = z.shape
        grad = z.new_empty(n, channels, 2 + 3 * k, *space)
        by_logits, by_means, by_scales = grad[:, :, 2:].chunk(3, dim=2)
        gain = grad_y * scale
        grad[:, :, 0] = (gain * logit + grad_slope) * (1 - s * s)
        grad[:, :, 1] = grad_y
        p = p * ((gain - grad_slope) / below).unsqueeze(2)
        q = q * ((gain + grad_slope) / above).unsqueeze(2)
        r = r * (grad_slope / f).unsqueeze(2)
        p += r
        torch.sub(p, q, out=q)  # by ln pi
        torch.addcmul(q, pi, grad_slope.unsqueeze(2), out=by_logits)
        by_z = p.sub_(q.add_(r).mul_(up))
        torch.mul(r.addcmul_(by_z, z).neg_(), raw >= SMALLEST_LOG_SCALE, out=by_scales)
        by_x = by_z.mul_(rate)
        torch.neg(by_x, out=by_means)
        return by_x.sum(2), grad


class _Terms(NamedTuple):
    """The terms of F, 1 − F and f, their sums over K, and the logarithms of what they add up to."""

    each: tuple[Tensor, Tensor, Tensor]
    sums: tuple[Tensor, Tensor, Tensor]
    logs: tuple[Tensor, Tensor, Tensor]


_SMALLEST_SUM = 1e-30
"""Well above where float32 loses digits."""


def _terms(pi: Tensor, up: Tensor, down: Tensor, rate: Tensor) -> _Terms:
    p, q = pi * up, pi * down
    r = (p * rate).mul_(down)
    sums = p.sum(2), q.sum(2), r.sum(2)
    return _Terms((p, q, r), sums, (sums[0].log(), sums[1].log(), sums[2].log()))


def _far_terms(log_pi: Tensor, z: Tensor, log_scales: Tensor) -> _Terms:
    """The same with each term over its sum, so that the sums are 1."""
    each = log_terms_of(log_pi, z, log_scales)
    below, above, log_f = (log_terms.logsumexp(2) for log_terms in each)
    logs = below, above, log_f
    p, q, r = ((term - log.unsqueeze(2)).exp_() for term, log in zip(each, logs, strict=True))
    ones = torch.ones_like(below)
    return _Terms((p, q, r), (ones, ones, ones), logs)


def log_terms_of(log_pi: Tensor, z: Tensor, log_scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logarithms of the terms of F, 1 − F and f."""
    # The default threshold of 20 would be an error of 2e-9, much in float64.
    sp = F.softplus(z, threshold=40)
    q = log_pi - sp
    p = q + z
    return p, q, p - sp - log_scales
