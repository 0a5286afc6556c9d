"""FlowDensity keeps scikit-learn's conventions, and says likelihoods in the columns' own units."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import glowkit
from glowkit.sklearn import FlowDensity

TINY = {"steps": 1, "width": 8, "max_iter": 2, "batch_size": 64}


def table(n: int = 600) -> np.ndarray:
    """Column 1 is twice column 0 plus noise, in units 1,000 times smaller."""
    random = np.random.RandomState(0)
    first = random.normal(size=n)
    return np.stack([first, 1000 * (2 * first + 0.3 * random.normal(size=n))], axis=1)


@parametrize_with_checks([FlowDensity(**TINY, random_state=0)])
def test_every_check_of_scikit_learn(estimator: FlowDensity, check: Callable) -> None:
    check(estimator)


def test_the_likelihood_is_that_of_the_columns_units() -> None:
    x = table()
    flow = FlowDensity(
        steps=2, width=16, max_iter=15, learning_rate=1e-2, noise=0.0, random_state=0
    ).fit(x[:500])
    truth = -math.log(2 * math.pi * math.e) - math.log(0.3 * 1000)
    assert flow.score(x[500:]) == pytest.approx(truth, abs=0.5)
    each = flow.score_samples(x[500:])
    assert (each.shape, each.dtype) == ((100,), np.float64)
    assert flow.score(x[500:]) == pytest.approx(each.mean())
    drawn = flow.sample(3000, random_state=1)
    assert drawn.shape == (3000, 2)
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(0.989, abs=0.02)
    assert drawn[:, 1].std() == pytest.approx(x[:, 1].std(), rel=0.15)
    assert flow.n_iter_ <= 40


def test_seeds_repeat_and_leave_torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    x = table(100)
    torch.manual_seed(5)
    before, of_gpus = torch.random.get_rng_state(), []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", of_gpus.append)
    one, two = (FlowDensity(**TINY, random_state=3).fit(x) for _ in range(2))
    one.sample(4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not of_gpus
    assert np.array_equal(one.score_samples(x), two.score_samples(x))
    assert np.array_equal(one.sample(4, random_state=1), two.sample(4, random_state=1))
    assert not np.array_equal(one.sample(4, random_state=1), one.sample(4, random_state=2))


def test_a_search_over_settings_in_a_pipeline() -> None:
    flow = FlowDensity(**TINY, random_state=0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), flow), {"flowdensity__coupling": ["affine", "spline"]}, cv=2
    ).fit(table(200))
    assert search.best_params_["flowdensity__coupling"] in ("affine", "spline")
    assert clone(flow).get_params() == flow.get_params()


def test_training_stops_where_the_held_out_rows_get_no_likelier() -> None:
    flow = FlowDensity(width=16, steps=1, max_iter=300, n_iter_no_change=3, noise=0.0,
                       learning_rate=2e-2, random_state=0).fit(table(60))  # fmt: skip
    assert flow.n_iter_ < 300


def test_the_density_inside_saves_and_is_a_distribution(tmp_path) -> None:
    x = table(100)
    flow = FlowDensity(**TINY, random_state=0).fit(x)
    glowkit.save(flow.density_, tmp_path / "model")
    again = glowkit.load(tmp_path / "model")
    rows = torch.from_numpy(x[:7])
    inside = glowkit.as_distribution(again).log_prob(rows).detach().numpy()
    assert np.allclose(inside, flow.score_samples(x[:7]), atol=1e-12)


def test_what_is_trained_with_batch_norm_is_what_is_scored() -> None:
    x = table(300)
    flow = FlowDensity(**TINY | {"steps": 2, "max_iter": 20}, normalization="batch-norm",
                       learning_rate=1e-2, random_state=0).fit(x)  # fmt: skip
    random = np.random.RandomState(0)
    held = x[random.permutation(len(x))][: round(0.15 * len(x))]
    assert flow.score(held) == pytest.approx(flow.validation_score_, abs=1e-3)
    rest = x[np.random.RandomState(0).permutation(len(x))][round(0.15 * len(x)) :]
    assert flow.score(rest) == pytest.approx(flow.score(held), abs=0.5)


def test_one_column() -> None:
    x = np.random.RandomState(0).exponential(size=(200, 1))
    assert FlowDensity(**TINY, random_state=0).fit(x).sample(3).shape == (3, 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_iter": 0}, "max_iter is 0; it must be a whole number, 1 or more"),
        ({"noise": -1}, "noise is -1"),
        ({"validation_fraction": 1.0}, "between 0 and 1"),
        ({"coupling": "cubic"}, "choose one of"),
        ({"structure": "coupling", "steps": 0}, "at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(glowkit.GlowkitError, match=words):
        FlowDensity(**settings).fit(table(50))


@pytest.mark.parametrize(
    ("scale", "shift", "words"), [(1, 1e9, "float32, subtract"), (1e-60, 0, "float32, below 1e-30")]
)
def test_a_column_that_float32_cannot_tell_is_refused(
    scale: float, shift: float, words: str
) -> None:
    x = table(50)
    x[:, 1] = x[:, 0] * scale + shift
    with pytest.raises(glowkit.GlowkitError, match=rf"column\(s\) 1 of X: .*{words}"):
        FlowDensity().fit(x)


def test_a_column_that_does_not_vary_is_refused() -> None:
    with pytest.raises(glowkit.GlowkitError, match=r"column\(s\) 1 of X"):
        FlowDensity().fit(np.hstack([table(50)[:, :1], np.ones((50, 1))]))
