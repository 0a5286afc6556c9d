"""Rows of tables: the figures of a density in nats, and of Gaussians fitted to the same rows."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glowkit.core import MIDPOINT, Density, Generator, GlowkitError, LogPKind, frozen
from glowkit.core.finite import finite_examples
from glowkit.tasks.likelihood import drawn_log_p, mean_of_draws
from glowkit.tasks.points import nll_at_twice_the_steps

DECODED = 2048
"""Rows of an evaluation that are decoded again: autoregressive flows take a pass a column."""

MOST_ROWS = 10_000  # to fit baselines on: more hardly move their figures
MOST_COMPONENTS = 10
_LEAST_VARIANCE = 1e-6  # in standardised columns: keeps a component off single points


@dataclass(frozen=True)
class RowsEvaluation:
    """A model's figures on rows x of a table, given their context where it has one.

    nll_nats: mean of −ln q(x | context), in nats of the columns' own units; standard_error: of that
    mean. largest_error: of decode(encode(x)) over the first `round_trip_rows` rows, in the standard
    deviations of the columns; NaN where a row could not be decoded. broken_rows: how many of those
    could not. not_finite_rows: how many rows have a log q that is not finite, so that the mean is
    not either. nll_nats_at_twice_the_steps: of a flow that integrates, whose own nll_nats is off by
    about their difference; else None.
    kind: what the figure is, "exact", a "bound" from above or an "estimate"; importance_samples
    tighten a bound, and draws of an estimate are averaged.
    """

    nll_nats: float
    standard_error: float
    rows: int
    largest_error: float
    round_trip_rows: int
    broken_rows: int
    not_finite_rows: int
    kind: LogPKind
    importance_samples: int
    draws: int
    nll_nats_at_twice_the_steps: float | None = None


@torch.no_grad()
def evaluate_rows(
    model: Density,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    scale: Tensor,
    importance_samples: int = 1,
    generator: Generator = None,
    draws: int = 1,
) -> RowsEvaluation:
    """Evaluate a density on every row of the batches.

    Args:
        model: of vectors (N, D).
        batches: rows and their context.
        scale: (D,), the standard deviations of the columns, in which errors are counted.
        importance_samples: of a bound on log q. draws: of an estimate of it, which are averaged.
        generator: of both.

    Raises:
        GlowkitError: when there are fewer than two rows, or for importance samples of what is no
            bound, or draws of what is no estimate.
    """
    losses: list[Tensor] = []
    errors: list[Tensor] = []
    finer: list[Tensor] = []
    decoded = broken = 0
    with frozen(model):
        for rows, context in batches:
            log_q = drawn_log_p(model, rows, context, generator, importance_samples, draws)
            losses.append(-log_q.double().cpu())
            if (more := nll_at_twice_the_steps(model, rows, context, generator)) is not None:
                finer.append(more.double().cpu())
            if decoded < DECODED:
                few = rows[: DECODED - decoded]
                given = None if context is None else context[: len(few)]
                again, _ = model.decode(model.encode(few, given, MIDPOINT)[0], given)
                broken += int((~finite_examples(again)).sum())
                errors.append(((again - few).abs() / scale.to(few)).max().cpu())
                decoded += len(few)
    count = sum(each.shape[1] for each in losses)
    if count < 2:
        raise GlowkitError(f"an evaluation needs at least 2 rows, not {count}")
    mean, standard_error = mean_of_draws(losses)
    return RowsEvaluation(
        nll_nats=mean,
        standard_error=standard_error,
        rows=count,
        largest_error=torch.stack(errors).max().item(),
        round_trip_rows=decoded,
        broken_rows=broken,
        not_finite_rows=sum(int((~each.isfinite().all(0)).sum()) for each in losses),
        kind=model.log_p_kind,
        importance_samples=importance_samples,
        draws=draws,
        nll_nats_at_twice_the_steps=torch.cat(finer).mean().item() if finer else None,
    )


def row_baselines(
    train: tuple[Tensor, Tensor | None], test: tuple[Tensor, Tensor | None], seed: int = 0
) -> dict[str, float]:
    """Mean test −ln p in nats of a Gaussian and of a mixture of Gaussians; lower is better.

    Both have full covariances and are fitted to standardised columns of at most 10,000 training
    rows; the number of components of the mixture, 1 to 10, has the least BIC, and is looked for
    until two more in a row are no better. Given a context, the
    joint density of x and context is fitted, and ln p(x | context) is the joint's less the
    marginal's: of one Gaussian, linear regression with normal errors.

    Shapes: each x (N, D), with its context (N, C) or None.

    Raises:
        GlowkitError: for fewer than 20 training rows.

    >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    >>> list(row_baselines((x, None), (x, None)))[0]
    'Gaussian'
    """
    (x, given), (test_x, test_given) = train, test
    if len(x) < 20:
        raise GlowkitError(f"the baselines need at least 20 training rows, and there are {len(x)}")
    chosen = np.random.RandomState(seed % 2**32).permutation(len(x))[:MOST_ROWS]
    joint = _joint(x, given)[chosen]
    mean, scale = joint.mean(0), joint.std(0)
    scale[scale == 0] = 1.0
    size = x.shape[1]
    z, test_z = (joint - mean) / scale, (_joint(test_x, test_given) - mean) / scale
    fits: list[Any] = []
    scores: list[float] = []
    for components in range(1, MOST_COMPONENTS + 1):
        few = components > 1 and components * (z.shape[1] + 1) > len(z)
        if few or (len(scores) > 2 and min(scores[-2:]) > min(scores[:-2])):
            break
        fits.append(_fit(z, components, seed))
        scores.append(fits[-1].bic(z))
    best = fits[int(np.argmin(scores))]
    units = float(np.log(scale[:size]).sum())
    found = {"Gaussian": fits[0]}
    if best is not fits[0]:
        found[f"mixture of {best.n_components} Gaussians"] = best
    return {
        name: units - float(_log_p(mixture, test_z, size).mean()) for name, mixture in found.items()
    }


def _joint(x: Tensor, context: Tensor | None) -> np.ndarray:
    parts = [x] if context is None else [x, context]
    return torch.cat(parts, dim=1).cpu().double().numpy()


def _fit(z: np.ndarray, components: int, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        components, reg_covar=_LEAST_VARIANCE, random_state=seed % 2**32, max_iter=200
    )
    with warnings.catch_warnings():
        # A fit that is stopped before it settles is a density all the same.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(z)


def _log_p(mixture: Any, z: np.ndarray, size: int) -> np.ndarray:
    """ln p of the first `size` columns given the others, (N,)."""
    log_p = mixture.score_samples(z)
    if size == z.shape[1]:
        return log_p
    from sklearn.mixture import GaussianMixture

    marginal = GaussianMixture(mixture.n_components)
    marginal.weights_, marginal.means_ = mixture.weights_, mixture.means_[:, size:]
    covariances = mixture.covariances_[:, size:, size:]
    factors = np.linalg.cholesky(covariances)
    marginal.covariances_ = covariances
    marginal.precisions_cholesky_ = np.linalg.inv(factors).transpose(0, 2, 1)
    return log_p - marginal.score_samples(z[:, size:])
