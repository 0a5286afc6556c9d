"""Classifiers that tell the window's events from a reference: weak supervision, without labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glowkit.tasks.resonance.sideband import FOLDS, Regions

SETTINGS: dict[str, Any] = {
    "max_iter": 80,
    "learning_rate": 0.06,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 40,
    "max_features": 0.5,
    "l2_regularization": 1.0,
    "early_stopping": False,
}
"""Of scikit-learn's `HistGradientBoostingClassifier`. Splits that may choose among half of the
features only differ from tree to tree, and their average is smoother: where signal is rare, that is
worth more than any other setting."""


@dataclass(frozen=True)
class Classifiers:
    """Boosted trees for each fold and half, [fold][half], not trained on the events of either.

    A score is ln p/(1 − p), averaged over classifiers: with both classes of equal weight, it
    estimates ln of the ratio of their densities.
    """

    trained: Sequence[Sequence[Any]]

    def held_out(self, regions: Regions) -> Tensor:
        """Scores of the regions' own events, (N,), each by its fold's and half's classifier."""
        scores = torch.empty(len(regions.m), dtype=torch.float64)
        for fold, of_fold in enumerate(self.trained):
            for half, one in enumerate(of_fold):
                own = (regions.folds == fold) & (regions.halves == half)
                scores[own] = logits(one, regions.x[own])
        return scores

    def __call__(self, x: Tensor, m: Tensor) -> Tensor:
        """Scores of other events, (N,), by all classifiers; m has no part in them."""
        each = [logits(one, x) for of_fold in self.trained for one in of_fold]
        return torch.stack(each).mean(0)


def logits(trained: Any, x: Tensor) -> Tensor:
    """ln p/(1 − p) of x (N, D), (N,) float64."""
    if not len(x):
        return x.new_empty(0)
    return torch.from_numpy(trained.decision_function(x.numpy()))


def classify(
    regions: Regions,
    references: Sequence[Tensor],
    generator: torch.Generator,
    folds: Tensor | None = None,
    weights: Tensor | None = None,
) -> Classifiers:
    """Train classifiers of the window's events against references without signal, one a half.

    If a reference (K, D) follows the background's density in the window, the best such classifier
    orders events as the best one of signal against background does: the ratio of densities
    p_data / p_b is 1 + s (p_s / p_b − 1), for a share s of signal (Metodiev, Nachman and Thaler
    2017, section 2).

    references: for each half, what was made without it. folds: of a reference's events, (K,), where
    they are the data's own, so that each is left out of its fold. weights: (K,), of a reference's
    events among themselves. Both classes have equal weight in all. Cost: a boosted classifier for
    each fold and half.
    """
    signal_region, own = regions.x[regions.inside], regions.folds[regions.inside]

    def trained(fold: int, reference: Tensor) -> Any:
        data = signal_region[own != fold]
        chosen = torch.ones(len(reference), dtype=torch.bool) if folds is None else folds != fold
        weight = (torch.ones(len(reference)) if weights is None else weights)[chosen].double()
        x = torch.cat([data, reference[chosen]])
        w = torch.cat([torch.ones(len(data)).double(), weight * (len(data) / weight.sum())])
        return boosted(x, torch.arange(len(x)) < len(data), w, generator)

    return Classifiers([[trained(fold, one) for one in references] for fold in range(FOLDS)])


def supervised(x: Tensor, truth: Tensor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """What one classifier learns of labelled events, x (N, D) and truth (N,) bool: a score of x.

    No method: a search has no labels. It says what the classifier itself cannot see.
    """
    weights = torch.where(truth, 1 / truth.sum(), 1 / (~truth).sum()).double() * len(truth)
    trained = boosted(x, truth, weights, generator)
    return lambda others: logits(trained, others)


def boosted(x: Tensor, y: Tensor, weights: Tensor, generator: torch.Generator) -> Any:
    """One boosted classifier of y (N,) bool, given x (N, D)."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    seed = int(torch.randint(2**31, (), generator=generator))
    model = HistGradientBoostingClassifier(**SETTINGS, random_state=seed)
    return model.fit(x.numpy(), y.numpy(), sample_weight=weights.numpy())
