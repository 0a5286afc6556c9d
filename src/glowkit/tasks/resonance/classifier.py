"""Classifiers that tell the window's events from a reference: weak supervision, without labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glowkit.tasks.resonance.sideband import FOLDS, Regions

COPIES = 2
"""Classifiers a fold, of different seeds, whose scores are averaged."""

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
class FoldClassifiers:
    """Boosted trees, `COPIES` for each fold; those of a fold were not trained on its events.

    A score is ln p/(1 − p), averaged over classifiers: with both classes of equal weight, it
    estimates ln of the ratio of their densities.
    """

    by_fold: Sequence[Sequence[Any]]

    def held_out(self, regions: Regions) -> Tensor:
        """Scores of the regions' own events, (N,), each by its fold's classifiers."""
        scores = torch.empty(len(regions.m), dtype=torch.float64)
        for fold, trained in enumerate(self.by_fold):
            own = regions.folds == fold
            scores[own] = _mean_logit(trained, regions.x[own])
        return scores

    def __call__(self, x: Tensor, m: Tensor) -> Tensor:
        """Scores of other events, (N,), by all classifiers; m has no part in them."""
        return torch.stack([_mean_logit(trained, x) for trained in self.by_fold]).mean(0)


def _mean_logit(trained: Sequence[Any], x: Tensor) -> Tensor:
    if not len(x):
        return x.new_empty(0)
    each = [torch.from_numpy(one.decision_function(x.numpy())) for one in trained]
    return torch.stack(each).mean(0)


def classify(
    regions: Regions,
    reference: Tensor,
    folds: Tensor | None,
    generator: torch.Generator,
    weights: Tensor | None = None,
) -> FoldClassifiers:
    """Train classifiers of the window's events against a reference (K, D) that has no signal.

    If the reference follows the background's density in the window, the best such classifier orders
    events as the best one of signal against background does: the ratio of densities p_data / p_b is
    1 + s (p_s / p_b − 1), for a share s of signal (Metodiev, Nachman and Thaler 2017, section 2).

    folds: of the reference's events, where they are the data's own, so that each is left out of
    its fold; None where they are not. weights: of the reference's events among themselves. Both
    classes have equal weight in all. Cost: `FOLDS` · `COPIES` boosted classifiers.
    """
    signal_region = regions.x[regions.inside]
    own = regions.folds[regions.inside]
    weights = torch.ones(len(reference), dtype=torch.float64) if weights is None else weights
    trained = []
    for fold in range(FOLDS):
        data = signal_region[own != fold]
        chosen = slice(None) if folds is None else folds != fold
        against, weight = reference[chosen], weights[chosen]
        weight = weight * (len(data) / weight.sum())
        x = torch.cat([data, against])
        y = torch.arange(len(x)) < len(data)
        w = torch.cat([torch.ones(len(data), dtype=torch.float64), weight])
        trained.append([boosted(x, y, w, generator) for _ in range(COPIES)])
    return FoldClassifiers(trained)


def supervised(x: Tensor, truth: Tensor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """What one classifier learns of labelled events, x (N, D) and truth (N,) bool: a score of x.

    No method: a search has no labels. It says what the classifier itself cannot see.
    """
    weights = torch.where(truth, 1 / truth.sum(), 1 / (~truth).sum()).double() * len(truth)
    trained = [boosted(x, truth, weights, generator)]
    return lambda others: _mean_logit(trained, others)


def boosted(x: Tensor, y: Tensor, weights: Tensor, generator: torch.Generator) -> Any:
    """One boosted classifier of y (N,) bool, given x (N, D)."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    seed = int(torch.randint(2**31, (), generator=generator))
    model = HistGradientBoostingClassifier(**SETTINGS, random_state=seed)
    return model.fit(x.numpy(), y.numpy(), sample_weight=weights.numpy())
