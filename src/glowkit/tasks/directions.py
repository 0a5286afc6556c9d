"""Where in the latent space images with an attribute differ from those without."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.tasks.latent import check_latents

Labelled = Iterable[tuple[Tensor, Tensor]]
"""Latents (B, D) and values (B, A): +1 for has, -1 for lacks, 0 for unknown."""

STRETCH = 1.6  # openai/glow's demo: an amount of 1 goes a little beyond the mean of the other kind
MOST_NUMBERS = 2**27  # latents kept at once for a regression: half a gigabyte
_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # C of scikit-learn, the strongest penalty first


def mean_directions(batches: Labelled) -> Tensor:
    """1.6 (mean z of those that have it − mean z of those that lack it), (A, D).

    One pass, whatever the number of images. Source: the demo of openai/glow, which averages over
    30,000 images; of a few hundred the difference also holds chance, of squared length
    D (1/positives + 1/negatives) times 1.6².

    >>> z = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
    >>> mean_directions([(z, torch.tensor([[1], [1], [-1]]))])
    tensor([[ 3.2000, -8.0000]])
    """
    totals: list[Tensor] | None = None
    for latents, values in batches:
        z = latents.double().cpu()
        check_latents(z)
        sums = [
            part
            for kind in (values.cpu() > 0, values.cpu() < 0)
            for part in (kind.double().T @ z, kind.double().sum(0)[:, None])
        ]
        totals = sums if totals is None else [a + b for a, b in zip(totals, sums, strict=True)]
    if totals is None:
        raise GlowkitError("there are no images to find attributes in")
    has, positives, lacks, negatives = totals
    return (STRETCH * (has / positives - lacks / negatives)).float()


def logistic_directions(batches: Labelled) -> Tensor:
    """1.6 ŵ ŵᵀ(mean difference), ŵ the unit normal of a logistic regression's plane, (A, D).

    What tells the kinds apart with all else held: where attributes go together, the mean difference
    mixes them. The L2 penalty is the one that does best on a fifth of the images left out; kinds
    weigh alike. Holds all latents, at most 2²⁷ numbers, of the first images.
    """
    kept = _first(batches)
    latents = torch.cat([z for z, _ in kept])
    values = torch.cat([v for _, v in kept])
    means = mean_directions([(latents, values)])
    units = torch.stack([_normal(latents, values[:, a]) for a in range(values.shape[1])])
    return units * (units * means).sum(1, keepdim=True)


METHODS: dict[str, Callable[[Labelled], Tensor]] = {
    "mean": mean_directions,
    "logistic": logistic_directions,
}


def _first(batches: Labelled) -> list[tuple[Tensor, Tensor]]:
    kept, numbers = [], 0
    for latents, values in batches:
        kept.append((latents.float().cpu(), values.cpu()))
        numbers += latents.numel()
        if numbers >= MOST_NUMBERS:
            break
    if not kept:
        raise GlowkitError("there are no images to find attributes in")
    return kept


def _normal(latents: Tensor, values: Tensor) -> Tensor:
    """The unit normal of the plane between the two kinds, (D,)."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    known = values != 0
    x, y = latents[known].numpy(), (values[known] > 0).numpy()
    left_out = np.zeros(len(y), dtype=bool)
    for kind in (True, False):  # every fifth of either kind
        left_out[np.flatnonzero(y == kind)[::5]] = True
    fitted_to = x[~left_out], y[~left_out]
    if len(np.unique(fitted_to[1])) < 2:
        raise GlowkitError("a regression needs 2 images of either kind; use the method mean")

    def regression(penalty: float) -> LogisticRegression:
        return LogisticRegression(C=penalty, class_weight="balanced", tol=1e-3, max_iter=200)

    def loss(penalty: float) -> float:
        plane = regression(penalty).fit(*fitted_to).decision_function(x[left_out])
        each = np.logaddexp(0, np.where(y[left_out], -plane, plane))
        return sum(float(each[y[left_out] == kind].mean()) for kind in (True, False))

    weights = regression(min(_PENALTIES, key=loss)).fit(x, y).coef_[0]
    return torch.from_numpy(weights / np.linalg.norm(weights)).float()
