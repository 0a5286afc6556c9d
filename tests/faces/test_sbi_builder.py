"""Flows inside sbi: shapes as sbi wants them, and a posterior that is known."""

import pytest
import torch

from glowkit import GlowConfig, GlowkitError, PointsConfig

sbi = pytest.importorskip("sbi")

from glowkit.sbi import sbi_builder  # noqa: E402

SMALL = PointsConfig(steps=2, width=16, structure="autoregressive", bins=8)


def simulations(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """θ ~ N(0, I) in units 100 times larger, x = θ / 100 + N(0, 0.5² I)."""
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(n, 2, generator=generator)
    return 100 * theta, theta + 0.5 * torch.randn(n, 2, generator=generator)


def test_the_shapes_are_those_of_sbi() -> None:
    theta, x = simulations(200)
    estimator = sbi_builder(SMALL)(theta, x.view(200, 2, 1))
    assert (estimator.input_shape, estimator.condition_shape) == ((2,), (2, 1))
    c = x[:5].view(5, 2, 1)
    assert estimator.loss(theta[:5], c).shape == (5,)
    drawn = estimator.sample((3, 4), c)
    assert drawn.shape == (3, 4, 5, 2)
    log_p = estimator.log_prob(drawn.view(12, 5, 2), c)
    assert log_p.shape == (12, 5)
    assert torch.allclose(log_p[0, 3], -estimator.loss(drawn[0, 0, 3:4], c[3:4])[0])
    assert estimator.log_prob(theta[:7, None], c[:1]).shape == (7, 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # sbi's own libraries warn of each other
def test_a_posterior_that_is_known(tmp_path, monkeypatch) -> None:
    """x = θ/100 + noise, both normal: the posterior is N(0.8 x, 0.2) in units of 100."""
    from sbi.inference import NPE

    prior = torch.distributions.MultivariateNormal(torch.zeros(2), 100.0**2 * torch.eye(2))
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)  # where sbi writes its logs
    inference = NPE(prior, density_estimator=sbi_builder(SMALL), show_progress_bars=False)
    inference.append_simulations(*simulations(1500))
    inference.train(max_num_epochs=30, training_batch_size=100, learning_rate=5e-3)
    posterior = inference.build_posterior()
    observed = torch.tensor([[1.0, -0.5]])
    drawn = posterior.sample((2000,), x=observed, show_progress_bars=False)
    assert torch.allclose(drawn.mean(0), 80 * observed[0], atol=12.0)
    assert torch.allclose(drawn.std(0), torch.full((2,), 100 * 0.2**0.5), rtol=0.25)
    truth = torch.distributions.Normal(80 * observed[0], 100 * 0.2**0.5)
    inside = drawn[:200]
    error = posterior.log_prob(inside, x=observed) - truth.log_prob(inside).sum(1)
    assert error.mean().abs() < 0.3


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(GlowkitError, match="PointsConfig"):
        sbi_builder(GlowConfig((1, 8, 8)))
    with pytest.raises(GlowkitError, match="no preset"):
        sbi_builder("nsf")
    theta, x = simulations(20)
    with pytest.raises(GlowkitError, match="no pairs"):
        sbi_builder(SMALL)(theta, x[:3])
    x[4] = torch.nan
    with pytest.raises(GlowkitError, match="NaN"):
        sbi_builder(SMALL)(theta, x)
