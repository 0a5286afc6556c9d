"""A density as a torch distribution: shapes, gradients, and what builds on distributions."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, kl_divergence

import glowkit
from glowkit.densities import StandardNormal
from glowkit.tasks.distribution import DensityDistribution


def flow(**settings) -> glowkit.Density:
    torch.manual_seed(0)
    model = glowkit.build(glowkit.PointsConfig(2, steps=2, width=8, **settings))
    context = torch.randn(32, 3) if "context_features" in settings else None
    glowkit.initialize(model, torch.randn(32, 2), context)
    return model


def test_shapes_without_a_context() -> None:
    d = glowkit.as_distribution(flow())
    assert (d.batch_shape, d.event_shape) == ((), (2,))
    assert d.sample().shape == (2,)
    assert d.sample((3, 4)).shape == (3, 4, 2)
    assert d.log_prob(torch.zeros(2)).shape == ()
    assert d.log_prob(torch.zeros(5, 6, 2)).shape == (5, 6)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_shapes_given_contexts(batch: tuple[int, ...]) -> None:
    model = flow(context_features=3)
    context = torch.randn(*batch, 3)
    d = glowkit.as_distribution(model, context)
    assert (d.batch_shape, d.event_shape) == (batch, (2,))
    x = d.sample((5,))
    assert x.shape == (5, *batch, 2)
    log_p = d.log_prob(x)
    assert log_p.shape == (5, *batch)
    each = model.log_prob(x.reshape(-1, 2), context.expand(5, *batch, 3).reshape(-1, 3))
    assert torch.equal(log_p.reshape(-1), each)
    wide = d.expand((7, *batch))
    assert wide.batch_shape == (7, *batch)
    assert wide.log_prob(wide.sample()).shape == (7, *batch)


def test_gradients_flow_through_samples_and_to_parameters() -> None:
    model = flow()
    d = glowkit.as_distribution(model)
    x, log_p = d.rsample_and_log_prob((16,))
    assert torch.allclose(log_p, d.log_prob(x), atol=1e-4)
    (d.rsample((16,)).square().mean() + log_p.mean()).backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
    assert not d.sample((2,)).requires_grad


def test_what_builds_on_distributions() -> None:
    d = glowkit.as_distribution(flow(context_features=3), torch.randn(4, 3))
    assert Independent(d, 1).log_prob(d.sample()).shape == ()
    mixture = MixtureSameFamily(Categorical(torch.ones(4)), d)
    log_p = torch.logsumexp(d.log_prob(torch.zeros(4, 2)) - math.log(4), 0)
    assert torch.allclose(mixture.log_prob(torch.zeros(2)), log_p, atol=1e-5)
    assert mixture.sample((6,)).shape == (6, 2)


def test_a_normal_is_torchs_normal() -> None:
    ours = glowkit.as_distribution(StandardNormal((3,)))
    theirs = torch.distributions.Normal(torch.zeros(3), 1.0)
    x = torch.randn(50, 3)
    assert torch.allclose(ours.log_prob(x), theirs.log_prob(x).sum(1), atol=1e-5)
    with pytest.raises(NotImplementedError):
        kl_divergence(ours, theirs)  # none is registered, and none is made up


def test_images_are_integers_without_gradients() -> None:
    config = glowkit.GlowConfig((1, 4, 4), levels=1, steps=1, width=4, pixel_levels=4, classes=3)
    model = glowkit.build(config)
    images = torch.randint(4, (8, 1, 4, 4)).byte()
    glowkit.initialize(model, images, torch.arange(8) % 3)
    d = glowkit.as_distribution(model, torch.tensor([0, 1, 2]))
    assert (d.batch_shape, d.event_shape) == ((3,), (1, 4, 4))
    x = d.sample((2,))
    assert x.shape == (2, 3, 1, 4, 4)
    assert d.log_prob(x).shape == (2, 3)
    assert not d.has_rsample
    with pytest.raises(glowkit.GlowkitError, match="no gradient"):
        d.rsample()
    checked = DensityDistribution(model, torch.tensor([0, 1, 2]), validate_args=True)
    assert checked.log_prob(x).shape == (2, 3)
    with pytest.raises(ValueError, match="support"):
        checked.log_prob(x.int() + 4)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(glowkit.GlowkitError, match="got Linear"):
        glowkit.as_distribution(torch.nn.Linear(2, 2))
    with pytest.raises(glowkit.GlowkitError, match="not conditional"):
        glowkit.as_distribution(flow(), torch.zeros(4, 2))
    with pytest.raises(glowkit.GlowkitError, match="a context of 3"):
        glowkit.as_distribution(flow(context_features=3))
