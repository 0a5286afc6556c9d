"""Points: the figures of a density of vectors, in nats, against a density known exactly."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from glowkit.bijections import refined
from glowkit.core import MIDPOINT, Density, Generator, GlowkitError, LogPKind, frozen
from glowkit.core.finite import finite_examples
from glowkit.tasks.likelihood import drawn_log_p, mean_of_draws


def nll(
    model: Density, points: Tensor, context: Tensor | None = None, generator: Generator = None
) -> Tensor:
    """−log p of each example, (N,) nats: exact, a bound or an estimate, by `log_p_kind`.

    Raises:
        GlowkitError: when the points are not (N, D) floats of the model's D and dtype.
    """
    return -model.log_prob(points, context, generator)


def nll_at_twice_the_steps(
    model: Density, points: Tensor, context: Tensor | None = None, generator: Generator = None
) -> Tensor | None:
    """`nll` where a flow that integrates takes twice its steps; None of one that does not.

    None of an estimate too: drawn anew, it would differ by chance as well as by the integration.
    """
    if model.log_p_kind == "estimate":
        return None
    with refined(model) as integrates:
        return nll(model, points, context, generator) if integrates else None


@dataclass(frozen=True)
class PointsEvaluation:
    """A model's figures on points x of a known density p, q being the model's.

    nll_nats: mean of −ln q(x); standard_error: of that mean. kl_nats: nll_nats less the entropy of
    p, an estimate of KL(p || q) with the same standard error.
    paired_kl_nats: mean of ln p(x) − ln q(x), an estimate of the same KL whose standard error,
    paired_standard_error, is smaller, because the two logarithms rise and fall together.
    largest_error: of decode(encode(x)), in any coordinate; NaN where a point could not be decoded.
    broken_points: how many could not. not_finite_points: how many have a log q that is not finite,
    so that the means are not either. nll_nats_at_twice_the_steps: of a flow that integrates, whose
    own nll_nats is off by about their difference; else None, and of an estimate.
    kind: what the figures are, "exact", "bound"s from above or "estimate"s; importance_samples
    tighten a bound, and draws of an estimate are averaged.
    """

    nll_nats: float
    standard_error: float
    entropy_nats: float
    kl_nats: float
    paired_kl_nats: float
    paired_standard_error: float
    points: int
    largest_error: float
    broken_points: int
    not_finite_points: int
    kind: LogPKind
    importance_samples: int
    draws: int
    nll_nats_at_twice_the_steps: float | None = None


@torch.no_grad()
def evaluate_points(
    model: Density,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    entropy: float,
    log_p: Callable[[Tensor], Tensor],
    importance_samples: int = 1,
    generator: Generator = None,
    draws: int = 1,
) -> PointsEvaluation:
    """Evaluate a model on every point of the batches, drawn from a density p.

    Args:
        model: of vectors (N, D).
        batches: points and their context.
        entropy: of p, in nats.
        log_p: ln p of points (N, D), (N,) nats.
        importance_samples: of a bound on ln q. draws: of an estimate of it, which are averaged.
        generator: of both.

    Raises:
        GlowkitError: when there are fewer than two points, or for importance samples of what is no
            bound, or draws of what is no estimate.
    """
    losses: list[Tensor] = []
    ratios: list[Tensor] = []
    errors: list[Tensor] = []
    finer: list[Tensor] = []
    broken = 0
    with frozen(model):
        for points, context in batches:
            log_q = drawn_log_p(model, points, context, generator, importance_samples, draws)
            losses.append(-log_q.double().cpu())
            ratios.append(log_p(points) + losses[-1])
            if (more := nll_at_twice_the_steps(model, points, context, generator)) is not None:
                finer.append(more.double().cpu())
            again, _ = model.decode(model.encode(points, context, MIDPOINT)[0], context)
            broken += int((~finite_examples(again)).sum())
            errors.append((again - points).abs().max().cpu())
    count = sum(each.shape[1] for each in losses)
    if count < 2:
        raise GlowkitError(f"an evaluation needs at least 2 points, not {count}")
    unknown = sum(int((~each.isfinite().all(0)).sum()) for each in losses)
    mean, standard_error = mean_of_draws(losses)
    paired, paired_error = mean_of_draws(ratios)
    largest = torch.stack(errors).max().item()  # of torch, whose max is NaN where one is
    return PointsEvaluation(
        nll_nats=mean,
        standard_error=standard_error,
        entropy_nats=entropy,
        kl_nats=mean - entropy,
        paired_kl_nats=paired,
        paired_standard_error=paired_error,
        points=count,
        largest_error=largest,
        broken_points=broken,
        not_finite_points=unknown,
        kind=model.log_p_kind,
        importance_samples=importance_samples,
        draws=draws,
        nll_nats_at_twice_the_steps=torch.cat(finer).mean().item() if finer else None,
    )


@torch.no_grad()
def share_between_modes(points: Tensor, centres: Tensor, distance: float) -> tuple[float, float]:
    """The share of points (N, D) farther than `distance` from every centre (K, D), and its error.

    The standard error is the binomial's, √(s (1 − s) / N). Of a flow's samples it is the mass
    that filaments and stray points carry: a continuous map of one Gaussian cannot tear modes apart.
    A point that is not finite is far from all.

    >>> share_between_modes(torch.tensor([[0.0], [3.0]]), torch.tensor([[0.1]]), 1.0)[0]
    0.5
    """
    between = torch.cat(
        [~(torch.cdist(part, centres).amin(1) <= distance) for part in points.split(4096)]
    )
    share = between.double().mean().item()
    return share, math.sqrt(share * (1 - share) / len(points))
