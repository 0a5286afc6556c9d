"""`FlowDensity`: a flow as an estimator of scikit-learn, for tables of moderate size in memory."""

from dataclasses import fields
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from glowkit.bijections import standardize
from glowkit.core import Density, frozen, initialize
from glowkit.core.checking import check_count
from glowkit.core.initialization import seeded
from glowkit.data.columns import column_faults
from glowkit.models import PointsConfig, build
from glowkit.nets import following
from glowkit.system.errors import GlowkitError
from glowkit.training.config import ema_decay_at, learning_rate_factor

AT_ONCE = 8192
"""Rows evaluated or drawn at a time, and the most that data-dependent layers are shown."""


class FlowDensity(DensityMixin, BaseEstimator):
    """A normalizing flow of the rows of a table, with scikit-learn's face.

    `fit` standardises columns inside the model, holds a share of the rows out, trains by AdamW on
    the others, and keeps the averaged weights of the epoch whose held-out likelihood is best.
    Likelihoods are exact, in nats of the columns' own units. The defaults are those of the preset
    `nsf-points`.

    `structure`, `coupling`, `steps`, `width`, `depth`, `permutation`, `normalization`,
    `components`, `bins` and `prior` are settings of the flow, as `glowkit.PointsConfig` has them.

    Args:
        max_iter: epochs at most; the learning rate falls to zero over them.
        batch_size: rows a step.
        learning_rate: its peak.
        weight_decay: of AdamW.
        noise: standard deviation of normal noise that is added to training rows, anew at every
            step, in the deviations of the columns. It keeps a small table from being learned by
            heart (Rothfuss et al. 2019, noise regularization); 0 for large ones.
        validation_fraction: of the rows, held out to stop by.
        n_iter_no_change: epochs without a better held-out likelihood after which training ends.
        random_state: seed of weights, split, order and noise; torch's own generator is left alone.

    Attributes:
        density_: the trained `glowkit.Density`, which takes float64 rows, for `glowkit.save`,
            `as_distribution` and the rest.
        n_iter_: epochs trained. validation_score_: the best held-out mean log-likelihood.

    Raises:
        GlowkitError: for settings that cannot be, and columns that do not vary, or whose values
            float32, in which it trains, cannot tell apart or hold.
        ValueError: as scikit-learn's estimators do, for X that is no table of finite numbers.

    >>> X = np.random.RandomState(0).normal(size=(200, 2))
    >>> flow = FlowDensity(steps=1, width=8, max_iter=2, random_state=0).fit(X)
    >>> flow.score_samples(X[:3]).shape, flow.sample(5, random_state=0).shape
    ((3,), (5, 2))
    """

    def __init__(
        self,
        *,
        structure: str = "autoregressive",
        coupling: str = "spline",
        steps: int = 5,
        width: int = 64,
        depth: int = 2,
        permutation: str = "conv1x1",
        normalization: str = "actnorm",
        components: int = 8,
        bins: int = 8,
        prior: str = "normal",
        max_iter: int = 100,
        batch_size: int = 64,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.1,
        noise: float = 0.1,
        validation_fraction: float = 0.15,
        n_iter_no_change: int = 20,
        random_state: Any = None,
    ) -> None:
        self.structure = structure
        self.coupling = coupling
        self.steps = steps
        self.width = width
        self.depth = depth
        self.permutation = permutation
        self.normalization = normalization
        self.components = components
        self.bins = bins
        self.prior = prior
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.noise = noise
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "FlowDensity":
        """Train on rows X, (N, D), N at least 4; y is ignored."""
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=4)
        config = self._config(X.shape[1])
        faults = column_faults(X, [str(i) for i in range(X.shape[1])])
        if faults:
            said = [f"column(s) {', '.join(hit[:8])} of X: {word}" for word, hit in faults.items()]
            raise GlowkitError(f"{'; '.join(said)}; training is in float32: change or remove them")
        random = check_random_state(self.random_state)
        order = random.permutation(len(X))
        held = max(1, min(round(self.validation_fraction * len(X)), len(X) - 2))
        rows = torch.from_numpy(X[order]).float()
        with seeded(random.randint(2**31 - 1)):
            self.density_ = build(config)
            standardize(self.density_, rows[held:])
            initialize(self.density_, rows[held : held + AT_ONCE])
            self._train(rows[held:], rows[:held])
        self.density_.double().eval()  # a row scores the same whatever rows are beside it
        return self

    def _config(self, dimensions: int) -> PointsConfig:
        """The flow's settings, with those of training checked too."""
        checks: list[tuple[str, Any, float]] = [
            ("max_iter", Integral, 1),
            ("batch_size", Integral, 2),
            ("n_iter_no_change", Integral, 1),
            ("learning_rate", Real, 1e-12),
            ("weight_decay", Real, 0),
            ("noise", Real, 0),
        ]
        for name, kind, least in checks:
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool) or not value >= least:
                words = "a whole number, " if kind is Integral else ""
                raise GlowkitError(f"{name} is {value!r}; it must be {words}{least:g} or more")
        if not 0 < self.validation_fraction < 1:
            raise GlowkitError(
                f"validation_fraction is {self.validation_fraction!r}; it must be between 0 and 1"
            )
        known = {field.name for field in fields(PointsConfig)}
        settings = {name: value for name, value in self.get_params().items() if name in known}
        # Those that another coupling would use are no mistake here, where a grid may try several.
        for coupling, name in (("mixture", "components"), ("spline", "bins")):
            if self.coupling != coupling:
                del settings[name]
        return PointsConfig(dimensions, preprocessing="standardize", **settings)

    def _train(self, rows: Tensor, held: Tensor) -> None:
        model = self.density_.train()
        trained = list(model.parameters())
        optimizer = torch.optim.AdamW(
            trained, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )
        average = [parameter.detach().clone() for parameter in trained]
        spread = self.noise * rows.double().std(0).float()
        size = min(self.batch_size, len(rows))
        buffers = list(model.buffers())  # running moments of batch norm, which the score is of
        best, kept = -np.inf, [value.clone() for value in [*average, *buffers]]
        step = self.n_iter_ = since = 0
        total = self.max_iter * -(-len(rows) // size)
        while self.n_iter_ < self.max_iter and since < self.n_iter_no_change:
            for part in torch.randperm(len(rows)).split(size):
                x = rows[part]
                x = x + spread * torch.randn_like(x)
                for group in optimizer.param_groups:
                    group["lr"] = self.learning_rate * learning_rate_factor(step, step / total, 20)
                with following(model):
                    loss = -model.log_prob(x).mean()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(trained, 5.0)
                optimizer.step()
                decay = ema_decay_at(step, 0.98)
                with torch.no_grad():
                    torch._foreach_lerp_(average, [p.detach() for p in trained], 1 - decay)
                step += 1
            self.n_iter_ += 1
            score = self._score_of(average, trained, held)
            since += 1
            if score > best:
                best, since = score, 0
                kept = [value.clone() for value in [*average, *buffers]]
        if not np.isfinite(best):
            raise GlowkitError(
                "no epoch gave a finite likelihood of the held-out rows; use a lower learning_rate"
            )
        with torch.no_grad():
            for own, value in zip([*trained, *buffers], kept, strict=True):
                own.copy_(value)
        self.validation_score_ = best

    def _score_of(self, average: list[Tensor], trained: list[Any], held: Tensor) -> float:
        """Mean log-likelihood of rows under the averaged weights, which are put in and out."""
        own = [parameter.detach().clone() for parameter in trained]
        with torch.no_grad():
            for parameter, value in zip(trained, average, strict=True):
                parameter.copy_(value)
            score = float(_log_prob(self.density_.eval(), held).mean())
            self.density_.train()
            for parameter, value in zip(trained, own, strict=True):
                parameter.copy_(value)
        return score

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-likelihood of each row of X, (N,) float64, in nats of the columns' own units."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return _log_prob(self.density_, torch.from_numpy(X)).numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood of the rows of X, in nats; higher is better."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw rows, (n_samples, D) float64. Cost: D passes where the flow is autoregressive."""
        check_is_fitted(self)
        count = check_count(n_samples, "n_samples")
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        generator = torch.Generator().manual_seed(seed)
        with frozen(self.density_):
            parts = [
                self.density_.sample(min(AT_ONCE, count - start), generator=generator)
                for start in range(0, count, AT_ONCE)
            ]
        return torch.cat(parts).numpy()


@torch.no_grad()
def _log_prob(density: Density, rows: Tensor) -> Tensor:
    return torch.cat([density.log_prob(part).double() for part in rows.split(AT_ONCE)])
