"""Held-out log-likelihood of a flow and of classic densities on three small tables.

    python examples/small_tables.py [TABLE ...]

Prints the table of docs/tables.md: mean and standard error over five splits, in nats a row. Every
method is fitted to the same 80 % of the rows, in columns standardised by these, and its figures are
in the columns' own units. What a method has to choose it chooses on those rows alone: the mixture
its components (1 to 10) and kind of covariance by BIC, the kernel density its bandwidth by 5-fold
cross-validation, the flow when to stop and how much noise to train with by rows that it holds out.
The digits' whole numbers get uniform noise, once, the same for all.
"""

import sys
import warnings
from collections.abc import Callable

import numpy as np
from sklearn.covariance import EmpiricalCovariance
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity

from glowkit.sklearn import FlowDensity

SPLITS = 5
NOISES = (0.02, 0.2)  # of the flow's training rows, in standard deviations
BANDWIDTHS = np.geomspace(0.05, 2.0, 20)

Fit = Callable[[np.ndarray, np.ndarray, int], float]
"""Mean log-likelihood of test rows after fitting to training rows, with a seed; standardised."""


def gaussian(train: np.ndarray, test: np.ndarray, seed: int) -> float:
    return float(EmpiricalCovariance(assume_centered=False).fit(train).score(test))


def mixture(train: np.ndarray, test: np.ndarray, seed: int) -> float:
    found = []
    for kind in ("full", "diag"):
        scores: list[float] = []
        for components in range(1, 11):
            fit = GaussianMixture(components, covariance_type=kind, random_state=seed).fit(train)
            scores.append(fit.bic(train))
            found.append((scores[-1], fit))
            if len(scores) > 2 and min(scores[-2:]) > min(scores[:-2]):
                break  # two more in a row are no better
    return float(min(found, key=lambda each: each[0])[1].score(test))


def kernel(train: np.ndarray, test: np.ndarray, seed: int) -> float:
    search = GridSearchCV(KernelDensity(), {"bandwidth": BANDWIDTHS}, cv=5).fit(train)
    return float(search.score(test)) / len(test)


def flow(train: np.ndarray, test: np.ndarray, seed: int) -> float:
    epochs = 60 if len(train) < 1000 else 30
    fits = [
        FlowDensity(noise=noise, max_iter=epochs, random_state=seed).fit(train) for noise in NOISES
    ]
    return max(fits, key=lambda fit: fit.validation_score_).score(test)


METHODS: dict[str, Fit] = {
    "Gaussian": gaussian,
    "mixture of Gaussians": mixture,
    "kernel density": kernel,
    "`nsf-points`": flow,
}


def digits() -> np.ndarray:
    x = load_digits().data
    return x + np.random.RandomState(0).uniform(size=x.shape)


TABLES: dict[str, Callable[[], np.ndarray]] = {
    "wine": lambda: load_wine().data,
    "breast cancer": lambda: load_breast_cancer().data,
    "digits": digits,
}


def figures(x: np.ndarray) -> dict[str, list[float]]:
    """The test log-likelihood of each method on each split, nats a row."""
    found: dict[str, list[float]] = {name: [] for name in METHODS}
    for seed in range(SPLITS):
        train, test = train_test_split(x, test_size=0.2, random_state=seed)
        mean, scale = train.mean(0), train.std(0)
        train, test = (train - mean) / scale, (test - mean) / scale
        for name, fit in METHODS.items():
            found[name].append(fit(train, test, seed) - float(np.log(scale).sum()))
    return found


def main(*names: str) -> None:
    print("| table | rows x columns |", " | ".join(METHODS), "|", flush=True)
    print("|---" * (2 + len(METHODS)) + "|", flush=True)
    for name in names or TABLES:
        x = TABLES[name]()
        cells = [
            f"{np.mean(values):.2f} ± {np.std(values, ddof=1) / SPLITS**0.5:.2f}"
            for values in figures(x).values()
        ]
        print(f"| {name} | {len(x)} x {x.shape[1]} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of mixtures that do not converge
    main(*sys.argv[1:])
