"""Anomaly scores: how unusual examples are to a model, calibrated on held-out usual ones."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from glowkit.core import Density, GlowkitError
from glowkit.core.checking import check_count, check_tensor
from glowkit.tasks.anomalies.assess import ranked
from glowkit.tasks.anomalies.complexity import codecs, complexities
from glowkit.tasks.anomalies.dose import fit_kernels, fit_machine
from glowkit.tasks.anomalies.statistics import (
    Progress,
    Reading,
    continuous,
    costs,
    gradient_norms,
    latent_statistics,
    nats_per_cost,
    silent,
)

LEAST_REFERENCE = 50
"""Reference examples: half of them fit a score, the others say how usual its values are."""

Quantities = Mapping[str, Tensor]
"""Figures of N examples by name, each (N, ...) float64."""

Rule = Callable[[Quantities], Tensor]
"""Quantities of N examples to scores (N,), higher for odder examples."""


@dataclass(frozen=True)
class Score:
    """A way to score: the quantities it needs, and the rule that those of the reference make."""

    needs: tuple[str, ...]
    fit: Callable[[Quantities], Rule]


def _of(name: str) -> Callable[[Quantities], Rule]:
    return lambda reference: lambda found: found[name]


def _less(name: str) -> Callable[[Quantities], Rule]:
    return lambda reference: lambda found: found["cost"] - found[name]


def _typicality(reference: Quantities) -> Rule:
    mean = reference["cost"].mean()
    return lambda found: (found["cost"] - mean).abs()


def _latent(reference: Quantities) -> Rule:
    # 2 S + 1 columns, of which the first S are those of squares.
    scales = reference["latents"].shape[1] // 2
    return lambda found: found["latents"][:, :scales].abs().amax(1)


def _dose(fit: Callable[[Tensor], Callable[[Tensor], Tensor]]) -> Callable[[Quantities], Rule]:
    def statistics(found: Quantities) -> Tensor:
        return torch.cat([found["cost"][:, None], found["gradient"][:, None], found["latents"]], 1)

    def fitted(reference: Quantities) -> Rule:
        judge = fit(statistics(reference))
        return lambda found: judge(statistics(found))

    return fitted


SCORES: dict[str, Score] = {
    "likelihood": Score(("cost",), _of("cost")),
    "complexity": Score(("cost", "complexity"), _less("complexity")),
    "ratio": Score(("cost", "background"), _less("background")),
    "typicality": Score(("cost",), _typicality),
    "waic": Score(("waic",), _of("waic")),
    "latent": Score(("latents",), _latent),
    "gradient": Score(("gradient",), _of("gradient")),
    "dose": Score(("cost", "gradient", "latents"), _dose(fit_kernels)),
    "dose-svm": Score(("cost", "gradient", "latents"), _dose(fit_machine)),
}
"""By name; all are higher for odder examples. b is -log p(x), in bits/dim or, of vectors, in nats.

likelihood: b. complexity: b less bits/dim in a lossless image format (Serrà et al. 2020). ratio: b
less that of a background model (Ren et al. 2019). typicality: abs(b - the mean b) (Nalisnick et al.
2019). waic: mean of b over an ensemble, plus the variance of log p over the nats of a unit of b
(Choi et al. 2018). latent: the largest abs of the standardised squared norm of a noise. gradient:
log of the norm of the gradient in x (Grathwohl et al. 2020). dose, dose-svm: how unusual b, the
gradient, both norms of every noise, and ladj are together, by kernel densities or by a one-class
SVM (Morningstar et al. 2021).
"""


@dataclass(frozen=True)
class AnomalyScores:
    """The scores of N examples, by the names of `SCORES`.

    values: (N,) float64 each, higher for odder examples, NaN where it could not be computed.
    p_values: (N,), the share of usual examples that score as high at least: (1 + how many of the
        calibration examples do) / (1 + how many there are). Of a usual example it is below any α
        with probability α at most (conformal p-value), so that the least one there can be is
        1 / (1 + calibration examples).
    not_finite: how many scores are not, and are ranked as the most anomalous.
    codecs: how many images each format made shortest, where complexity was asked for.
    cost: b of each, (N,).
    """

    values: dict[str, Tensor]
    p_values: dict[str, Tensor]
    not_finite: dict[str, int]
    codecs: dict[str, int]
    cost: Tensor

    def order(self, name: str) -> Tensor:
        """The numbers of the examples, (N,), the most anomalous first; ties in their order."""
        return ranked(self.values[name]).argsort(descending=True, stable=True)


@dataclass
class AnomalyDetector:
    """Scores examples, (N, C, H, W) integers or (N, D), by a model and what is usual to it.

    Args:
        model: of images or vectors, without classes, that is not frozen where a score needs
            gradients.
        reference: held-out usual examples, at least 50: those of a validation split, because
            training examples look too usual. Every other one is fitted to; the rest calibrate.
        scores: names of `SCORES`; by default all that can be computed, `left_out` says which not.
        background: for `ratio`: a model of the same shape and levels trained on perturbed images.
        ensemble: for `waic`: at least one other model, beside `model` itself.

    `draws`, `batch_size`, `seed` and `progress` are as `Reading` has them.

    left_out: why the scores that were not computed could not be, by their names. usual: the scores
    of the calibration examples, ascending. reference_cost: b of all reference examples.

    Raises:
        GlowkitError: for unknown scores and those that cannot be computed, models of other shapes
            or levels, a model with classes, fewer than 50 reference examples, or a reference of
            which fewer than 25 of either half have finite figures.

    Cost, for every example: `draws` evaluations for likelihood, another `draws` for each further
    model, one for the latents, and one with a backward pass for the gradient.
    """

    model: Density
    reference: Tensor
    scores: Sequence[str] | None = None
    background: Density | None = None
    ensemble: Sequence[Density] = ()
    draws: int = 8
    batch_size: int = 64
    seed: int = 0
    progress: Progress = silent
    left_out: dict[str, str] = field(init=False)
    usual: dict[str, Tensor] = field(init=False)
    reference_cost: Tensor = field(init=False)

    def __post_init__(self) -> None:
        check_count(self.draws, "draws")
        check_count(self.batch_size, "batch_size")
        check_count(self.seed, "seed", least=0)
        check_tensor(self.reference, "reference examples")
        self._check_models()
        if len(self.reference) < LEAST_REFERENCE:
            raise GlowkitError(
                f"{len(self.reference)} reference examples are too few to say what is usual; give"
                f" at least {LEAST_REFERENCE}"
            )
        self.left_out = {name: why for name in SCORES if (why := self._cannot(name))}
        if self.scores is None:
            self.scores = [name for name in SCORES if name not in self.left_out]
        else:
            self.left_out = {n: why for n, why in self.left_out.items() if n in self.scores}
            self._check_scores(self.scores)
        self._reading = Reading(self.draws, self.batch_size, self.seed, self.progress)
        self._fit()

    def __call__(self, x: Tensor, stream: int = 1) -> AnomalyScores:
        """The scores of these examples; each `stream`, a number from 1 on, has its own noise."""
        check_tensor(x, "examples")
        found = self._quantities(x, stream)
        values = {name: rule(found) for name, rule in self._rules.items()}
        lost = {name: int((~value.isfinite()).sum()) for name, value in values.items()}
        names, formats = list(codecs()) if "codec" in found else [], found.get("codec", ())
        counts = Counter(names[int(number)] for number in formats)
        return AnomalyScores(
            {
                name: value.masked_fill(~value.isfinite(), torch.nan)
                for name, value in values.items()
            },
            {name: self._p_values(name, value) for name, value in values.items()},
            lost,
            dict(counts.most_common()),
            found["cost"],
        )

    def _fit(self) -> None:
        found = self._quantities(self.reference, stream=0)
        fitted, calibration = ({n: q[half::2] for n, q in found.items()} for half in (0, 1))
        fitted = _finite(fitted)
        least = LEAST_REFERENCE // 2
        if min(len(fitted["cost"]), len(_finite(calibration)["cost"])) < least:
            raise GlowkitError(
                "too few reference examples have finite figures under the model to say what is"
                " usual; train it longer"
            )
        self._rules = {name: SCORES[name].fit(fitted) for name in self.scores or ()}
        self.reference_cost = found["cost"]
        self.usual = {
            name: ranked(rule(calibration)).sort().values for name, rule in self._rules.items()
        }

    def _p_values(self, name: str, values: Tensor) -> Tensor:
        usual = self.usual[name]
        above = len(usual) - torch.searchsorted(usual, ranked(values))
        return (1 + above.double()) / (1 + len(usual))

    def _quantities(self, x: Tensor, stream: int) -> Quantities:
        """What the scores need of these examples, and "cost", whatever they need."""
        needed = {"cost"}.union(*(SCORES[name].needs for name in self.scores or ()))
        reading, model = self._reading, self.model
        found = {"cost": costs(model, x, reading, stream)}
        if "background" in needed and self.background is not None:
            found["background"] = costs(self.background, x, reading, stream, "background")
        if "waic" in needed:
            others = [
                costs(each, x, reading, stream, f"ensemble {number}")
                for number, each in enumerate(self.ensemble, 2)
            ]
            every = torch.stack([found["cost"], *others])
            found["waic"] = every.mean(0) + every.var(0) * nats_per_cost(model, x)
        if "complexity" in needed:
            found["complexity"], found["codec"] = complexities(x, model.levels or 0)
        if "latents" in needed:
            found["latents"] = latent_statistics(model, x, reading)
        if "gradient" in needed:
            found["gradient"] = gradient_norms(model, x, reading)
        return found

    def _check_models(self) -> None:
        others = [("background", self.background), *(("ensemble", m) for m in self.ensemble)]
        for name, model in [("model", self.model), *others]:
            if model is None:
                continue
            if model.classes:
                raise GlowkitError(
                    "anomalies are told without labels, and this model is of images with a class;"
                    " train one without --conditional"
                )
            for what, ours, theirs in (
                ("levels", self.model.levels, model.levels),
                ("shape", self.model.shape, model.shape),
            ):
                if ours != theirs:
                    raise GlowkitError(
                        f"the {name} model has {what} {_by(theirs)}, and the model {_by(ours)};"
                        " figures of different ones do not compare: train both on the same data"
                    )

    def _cannot(self, name: str) -> str:
        """Why this score cannot be computed, or nothing."""
        needs = SCORES[name].needs
        if "background" in needs and self.background is None:
            return "it needs a background model"
        if "waic" in needs and not self.ensemble:
            return "it needs an ensemble of at least 2 models"
        if "complexity" in needs and (self.model.levels is None or self.reference.dim() != 4):
            return "it is of images, and these are vectors"
        if "gradient" in needs and continuous(self.model) is None:
            return "it needs gradients, and this model of integers is no Dequantize"
        return ""

    def _check_scores(self, asked: Iterable[str]) -> None:
        for name in asked:
            if name not in SCORES:
                raise GlowkitError(
                    f"there is no anomaly score {name!r}; choose of {', '.join(SCORES)}"
                )
            if name in self.left_out:
                raise GlowkitError(f"{name} cannot be computed: {self.left_out[name]}")


def _finite(found: Quantities) -> dict[str, Tensor]:
    """The quantities of those examples of which all are."""
    whole = torch.stack(
        [q.flatten(1).isfinite().all(1) if q.dim() > 1 else q.isfinite() for q in found.values()]
    ).all(0)
    return {name: quantity[whole] for name, quantity in found.items()}


def _by(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def anomaly_scores(
    model: Density,
    examples: Tensor,
    reference: Tensor,
    scores: Sequence[str] | None = None,
    background: Density | None = None,
    ensemble: Sequence[Density] = (),
    draws: int = 8,
    batch_size: int = 64,
    seed: int = 0,
) -> AnomalyScores:
    """How unusual examples are to a model, by several scores, all higher for odder ones.

    The arguments, the cost and what is refused are those of `AnomalyDetector`, which scores
    several sets of examples with one reference. The same seed gives the same scores, whatever the
    batch size. Shapes: examples (N, C, H, W) integers or (N, D) floats.

    >>> from glowkit.densities import StandardNormal
    >>> generator = torch.Generator().manual_seed(0)
    >>> usual = torch.randn(200, 2, generator=generator)
    >>> found = anomaly_scores(StandardNormal((2,)), torch.tensor([[0.5, 1], [6, 0]]), usual)
    >>> found.order("likelihood").tolist(), list(found.values)[:2]
    ([1, 0], ['likelihood', 'typicality'])
    """
    detector = AnomalyDetector(
        model, reference, scores, background, ensemble, draws, batch_size, seed
    )
    return detector(examples)
