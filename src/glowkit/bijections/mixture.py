"""Flow++'s elementwise map: the logit of a logistic mixture's distribution function."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.bijections.coupling import Transformer
from glowkit.core import sum_per_example
from glowkit.nets.fast import Kernel
from glowkit.nets.kernels import mixture

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
        if mixture.takes(x, groups):
            return mixture.forward(x, groups, SMALLEST_LOG_SCALE), ()
        s, t = groups[:, :, 0].tanh(), groups[:, :, 1]
        logits, means, raw = groups[:, :, 2:].chunk(3, dim=2)
        rate = raw.neg().exp_().clamp_max_(math.exp(-SMALLEST_LOG_SCALE))
        pi = logits.softmax(2)
        z = (x.unsqueeze(2) - means).mul_(rate)
        up = torch.sigmoid(z)
        # A GPU is not asked how small sums are: the answer would have to be waited for.
        terms = None if x.is_cuda else _terms(pi, up, torch.sigmoid(-z), rate)
        if terms is None or _vanishing(terms.sums):
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
        if not kept:
            return mixture.backward(inputs[0], inputs[1], SMALLEST_LOG_SCALE, *grads)
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


def _vanishing(sums: Sequence[Tensor]) -> bool:
    """Asked of the result, NaN included: a component may be far where another is near."""
    smallest = [total.min() for total in sums if total.numel()]
    return bool(smallest) and not float(torch.stack(smallest).min()) > _SMALLEST_SUM


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
    halvings = HALVINGS.get(y.dtype, 64)
    if mixture.takes(y, groups):
        return mixture.root(y, groups, SMALLEST_LOG_SCALE, halvings)
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
    for _ in range(halvings):
        middle = (low + high) / 2
        z = (middle.unsqueeze(2) - means) * rate
        ratio = (weights - F.softplus(-z, threshold=40)).exp_().sum(2)
        above = (ratio > 1) == (toward.squeeze(2) > 0)
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2


class LogisticMixture(Transformer):
    """y = logit F(x) · exp(s) + t with F the distribution function of a mixture of K logistics.

    F(x) = Σ π_k σ((x − μ_k) exp(−l_k)), s = tanh(s_raw), l_k ≥ −7; ladj = Σ [ln f − ln F −
    ln(1 − F) + s]. inverse: logit F(x) = (y − t) exp(−s), solved by bisection. h holds s_raw, t,
    K logits of π, K means and K log-scales. ln F and ln(1 − F) are computed side by side in log
    space, so that nothing overflows far out: round trips at |x| = 16 stay within 1e-5 in float32.

    With h = 0 the map is the identity, but one whose K components are alike and, having equal
    gradients, would stay alike for ever: `start` spreads their means over [−1, 1], to be written
    into the conditioner's last bias.

    Cost: 15 passes over K numbers an element forward, 16 backward, and 8K numbers kept for it; see
    `MixtureLogit`. The inverse evaluates F once a halving, some 15 times a forward
    pass in float32, and can be differentiated. Between narrow components far apart, F is flat and
    y has lost what x was, in any form of the map: the inverse is then finite, but not x. Source:
    Flow++, section 4.1, in the stable form; a departure is the bracket, which the components give.

    >>> mixture, x = LogisticMixture(4), torch.tensor([[-16.0, 2.0]])
    >>> y, ladj = mixture(x, torch.zeros(1, 2 * 14))
    >>> y.tolist(), abs(ladj.item()) < 1e-5
    ([[-16.0, 2.0]], True)
    """

    def __init__(self, components: int) -> None:
        super().__init__()
        if components < 1:
            raise ValueError(f"a mixture needs at least 1 component, not {components}")
        self.components = components
        self.parameters_per_channel = 2 + 3 * components

    def start(self) -> Tensor:
        h = super().start()
        k = self.components
        h[2 + k : 2 + 2 * k] = torch.linspace(-1, 1, k) if k > 1 else 0.0
        return h

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, log_slope = MixtureLogit.of(x, self.group(x, h))
        return y, sum_per_example(log_slope)

    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        groups = self.group(y, h)
        x = MixtureRoot.of(y, groups)
        return x, -sum_per_example(MixtureLogit.of(x, groups)[1])

    def extra_repr(self) -> str:
        return f"{self.components} components"
