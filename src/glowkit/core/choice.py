"""A discrete choice as noise: k of n with probabilities P becomes a standard logistic draw."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.core.noise import Generator, NoiseSpec, draw
from glowkit.system.errors import GlowkitError

MOST_CHOICES = 256
FLOOR = 2.0**-12
"""Part of the probability that is shared out evenly, so that no choice's interval is too narrow."""
ROUNDING = 2.0**-40
"""More than float64 loses in an edge: near ε = 0 that is more than the noise itself is rounded."""


def floored(log_p: Tensor) -> Tensor:
    """ln P of choices with a floor: P ← (1 − δ) P + δ / n, where δ = 2⁻¹².

    Costs at most 0.0004 bits a choice, and makes the interval of each of up to 256 choices some 40
    roundings of float32 wide, so that none is ever lost. Shapes: (..., n) to the same, normalised.

    >>> round(floored(torch.tensor([0.0, -torch.inf])).exp()[1].item() / FLOOR, 4)
    0.5
    """
    _check(log_p)
    least = torch.full_like(log_p, math.log(FLOOR / log_p.shape[-1]))
    return torch.logaddexp(log_p + math.log1p(-FLOOR), least)


def choice_encode(k: Tensor, log_p: Tensor, generator: Generator = None) -> Tensor:
    """Write choices as noise ε, which is standard logistic whenever k ~ P.

    With F(k) = Σ_{j<k} P(j) and w ~ U(0, 1), u = F(k) + w P(k) and ε = ln u − ln(1 − u). The noise
    makes log p greater by ln P(k) exactly: nothing is bounded. `MIDPOINT` takes w = ½. Both tails
    are computed in log space and in float64, whatever the model's dtype. w is kept
    m = min(1/64, 4 max(ulp(ε), 2⁻⁴⁰) / (P / (u (1 − u)))) away from 0 and 1, so that ε as it is
    rounded is inside the interval of k. Context that a choice depends on is the caller's, in P.

    Shapes: k (N, ...) integers; log_p (N, ..., n), ln P in nats, which must be `floored`; to k's
    shape, in log_p's dtype. NaN in log_p makes NaN. Cost: O(n) a choice.

    Raises:
        GlowkitError: for more than 256 choices, or shapes that do not fit.

    >>> from glowkit.core import MIDPOINT
    >>> log_p = floored(torch.full((1, 2), 0.5).log())
    >>> [round(choice_encode(torch.tensor([k]), log_p, MIDPOINT).item(), 4) for k in (0, 1)]
    [-1.0986, 1.0986]
    """
    _check(log_p)
    if k.shape != log_p.shape[:-1]:
        raise GlowkitError(
            f"choices of shape {tuple(k.shape)} do not fit probabilities of shape"
            f" {tuple(log_p.shape)}, whose last dimension counts the choices"
        )
    log_f, log_s = _edges(log_p)
    at = k.long()[..., None]
    below = log_f.gather(-1, at).squeeze(-1)
    above = log_s.gather(-1, at + 1).squeeze(-1)
    own = log_p.double().gather(-1, at).squeeze(-1)

    def noise(logit: Tensor) -> Tensor:
        log_u = torch.logaddexp(below, F.logsigmoid(logit) + own)
        return log_u - torch.logaddexp(above, F.logsigmoid(-logit) + own)

    # The logit of w is standard logistic: drawn like any noise, it belongs to its example.
    logit = draw(NoiseSpec(tuple(k.shape[1:]), "logistic"), k.shape[0], own, generator=generator)
    with torch.no_grad():
        rounded = noise(logit).to(log_p.dtype)
        size = rounded.abs()
        ulp = torch.nextafter(size, torch.full_like(size, torch.inf)) - size
        ulp = ulp.double().clamp(min=ROUNDING)
        log_slope = F.logsigmoid(rounded.double()) + F.logsigmoid(-rounded.double())
        margin = (4 * ulp / (own - log_slope).exp()).clamp(max=1 / 64)
        most = torch.log1p(-margin) - margin.log()
    return noise(torch.minimum(torch.maximum(logit, -most), most)).to(log_p.dtype)


def choice_decode(eps: Tensor, log_p: Tensor) -> Tensor:
    """The choices that `choice_encode` wrote as ε: how many edges between choices are ≤ ε.

    A temperature below 1 on ε moves towards the median choice, which is that of ε = 0. Shapes: eps
    (...), log_p (..., n) to (...), int64. Integers cannot say NaN: where ε or log_p is NaN this is
    some choice, and log p, which the caller computes, must be NaN. Cost: O(n) a choice.

    Raises:
        GlowkitError: for more than 256 choices, or shapes that do not fit.

    >>> choice_decode(torch.tensor([-1.1, 1.1]), floored(torch.full((2, 2), 0.5).log())).tolist()
    [0, 1]
    """
    _check(log_p)
    if eps.shape != log_p.shape[:-1]:
        raise GlowkitError(
            f"noise of shape {tuple(eps.shape)} does not fit probabilities of shape"
            f" {tuple(log_p.shape)}, whose last dimension counts the choices"
        )
    log_f, log_s = _edges(log_p)
    inner = (log_f - log_s)[..., 1:-1]
    return (eps.double()[..., None] >= inner).sum(-1)


def _edges(log_p: Tensor) -> tuple[Tensor, Tensor]:
    """ln F and ln(1 − F) at each of the n + 1 edges of n choices, in float64.

    Each is a sum of its own side, so that neither tail is lost to the other.
    """
    exact = log_p.double()
    lower = torch.logcumsumexp(exact, -1)
    upper = torch.logcumsumexp(exact.flip(-1), -1).flip(-1)
    none = exact.new_full((*exact.shape[:-1], 1), -torch.inf)
    return torch.cat([none, lower], -1), torch.cat([upper, none], -1)


def _check(log_p: Tensor) -> None:
    if log_p.shape[-1] > MOST_CHOICES:
        raise GlowkitError(
            f"a choice among {log_p.shape[-1]} cannot be written as one float32 noise without loss;"
            f" at most {MOST_CHOICES} can, so make it of several choices"
        )
