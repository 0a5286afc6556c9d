"""Laws of discrete choices as noise: none is lost, noise is standard logistic, log p is exact."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.core import (
    MIDPOINT,
    GlowkitError,
    choice,
    choice_decode,
    choice_encode,
    floored,
)
from glowkit.core.noise import OfEach, Portion

CHOICES = (2, 17, 256)
SPREADS = (0.0, 1.0, 5.0, 30.0)  # deviations of logits: from even to all but certain
N = 20_000
ENDS = (None, -700.0, -28.0, 28.0, 700.0)  # logits of w; None where it is drawn


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def probabilities(
    n: int, spread: float, dtype: torch.dtype = torch.float32, number: int = N
) -> Tensor:
    logits = torch.randn(number, n, generator=seeded(n), dtype=torch.float64) * spread
    return floored(logits.log_softmax(-1).to(dtype))


def chosen(log_p: Tensor, seed: int = 1000) -> Tensor:
    return torch.multinomial(log_p.exp(), 1, generator=seeded(seed))[:, 0]


class AtEdge:
    """Draws that are all at one end of (0, 1), or as near as float64 comes."""

    def __init__(self, logit: float) -> None:
        self.logit = logit

    def __call__(self, spec: object, n: int, like: Tensor, **_: object) -> Tensor:
        return torch.full_like(like, self.logit)


def lose_none(n: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Likely choices and any; w drawn, and at both of its ends."""
    for spread in SPREADS:
        log_p = probabilities(n, spread, number=number)
        for logit in ENDS:
            with monkeypatch.context() as patch:
                if logit is not None:
                    patch.setattr(choice, "draw", AtEdge(logit))
                for k in (chosen(log_p), torch.randint(n, (number,), generator=seeded(3))):
                    eps = choice_encode(k, log_p, seeded(4))
                    assert eps.dtype == torch.float32
                    assert eps.isfinite().all()
                    assert torch.equal(choice_decode(eps, log_p), k)


@pytest.mark.parametrize("n", CHOICES)
def test_no_choice_is_lost_to_rounding(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_none(n, 20_000 // n, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("n", CHOICES)
def test_no_choice_of_many_is_lost_to_rounding(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_none(n, N, monkeypatch)


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("n", [2, 17, pytest.param(256, marks=pytest.mark.slow)])
def test_the_noise_of_choices_that_have_these_probabilities_is_standard_logistic(
    n: int, spread: float
) -> None:
    log_p = probabilities(n, spread)
    eps = choice_encode(chosen(log_p), log_p, seeded(5)).double()
    within = 4.5 / math.sqrt(N)
    assert abs(eps.mean()) < within * math.pi / math.sqrt(3)
    # The logistic's kurtosis is 4.2, so that the variance of a square is 3.2 squared variances.
    assert abs(eps.var() / (math.pi**2 / 3) - 1) < within * math.sqrt(3.2)
    u = eps.sigmoid().sort().values
    empirical = torch.arange(1, N + 1) / N
    assert (u - empirical).abs().max() < 2.4 / math.sqrt(N)  # Kolmogorov's: 2e-5 of chance


@pytest.mark.parametrize("n", CHOICES)
def test_log_p_gains_the_probability_of_the_choice_exactly(n: int) -> None:
    """The chance that standard logistic noise decodes to k is P(k): its interval's."""
    log_p = probabilities(n, 2.0, torch.float64)[:1]
    edges = []
    for k in range(1, n):
        low, high = -60.0, 60.0
        for _ in range(100):
            middle = (low + high) / 2
            below = choice_decode(torch.tensor([middle], dtype=torch.float64), log_p).item() < k
            low, high = (middle, high) if below else (low, middle)
        edges.append(high)
        if len(edges) == 5:
            break
    u = torch.tensor([-math.inf, *edges], dtype=torch.float64).sigmoid()
    assert (u.diff() - log_p.exp()[0, : len(edges)]).abs().max() < 1e-13
    assert abs(log_p.exp().sum() - 1) < 1e-12


def test_the_midpoint_is_the_middle_of_the_interval() -> None:
    log_p = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64).log()
    middles = torch.tensor([0.1, 0.45, 0.85], dtype=torch.float64)
    for k in range(3):
        eps = choice_encode(torch.tensor([k]), log_p, MIDPOINT)
        assert abs(eps.sigmoid().item() - middles[k]) < 1e-12


def test_a_lower_temperature_moves_towards_the_median_choice() -> None:
    log_p = floored(torch.tensor([0.2, 0.5, 0.3]).log()).expand(N, 3)
    eps = choice_encode(chosen(log_p), log_p, seeded(6))
    shares = [(choice_decode(eps * t, log_p) == 1).double().mean() for t in (2.0, 1.0, 0.5, 0.0)]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_floored_probabilities_are_normalised_and_cost_little() -> None:
    for n in CHOICES:
        for spread in SPREADS:
            logits = torch.randn(100, n, generator=seeded(n), dtype=torch.float64) * spread
            log_p = logits.log_softmax(-1)
            with_floor = floored(log_p)
            assert (with_floor.logsumexp(-1)).abs().max() < 1e-12
            assert with_floor.min() >= math.log(choice.FLOOR / n) - 1e-12
            assert (log_p - with_floor).max() / math.log(2) < 0.0004


def test_noise_belongs_to_its_example() -> None:
    log_p = probabilities(17, 2.0)[:4].reshape(4, 1, 17).expand(4, 3, 17)
    k = torch.arange(12).reshape(4, 3)
    whole = choice_encode(k, log_p, seeded(7))
    assert whole.shape == k.shape
    part = choice_encode(k[1:3], log_p[1:3], Portion(seeded(7), slice(1, 3), size=4))
    assert torch.equal(part, whole[1:3])
    each = choice_encode(k[:2], log_p[:2], OfEach((seeded(8), seeded(7))))
    assert torch.equal(each[1], choice_encode(k[1:2], log_p[1:2], seeded(7))[0])
    torch.manual_seed(7)
    assert torch.equal(choice_encode(k, log_p), whole)


def test_nan_is_seen_and_choices_of_probability_have_gradients() -> None:
    log_p = torch.full((2, 3), 1 / 3).log()
    log_p[1] = math.nan
    eps = choice_encode(torch.tensor([1, 1]), log_p, seeded(0))
    assert eps.isnan().tolist() == [False, True]
    logits = torch.randn(5, 4, generator=seeded(1), requires_grad=True)
    log_p = floored(F.log_softmax(logits, -1))
    choice_encode(torch.arange(5) % 4, log_p, MIDPOINT).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_what_cannot_be_a_choice_is_refused() -> None:
    many = torch.zeros(2, 257)
    for call in (
        lambda: floored(many),
        lambda: choice_encode(torch.zeros(2).long(), many),
        lambda: choice_decode(torch.zeros(2), many),
    ):
        with pytest.raises(GlowkitError, match="a choice among 257 cannot be written as one"):
            call()
    with pytest.raises(GlowkitError, match=r"choices of shape \(3,\) do not fit"):
        choice_encode(torch.zeros(3).long(), torch.zeros(2, 4))
    with pytest.raises(GlowkitError, match=r"noise of shape \(2, 1\) does not fit"):
        choice_decode(torch.zeros(2, 1), torch.zeros(2, 4))
