"""Residual flows of images, and continuous flows whose divergence is estimated."""

from dataclasses import replace

import pytest
import torch

import glowkit
from glowkit.core import MIDPOINT, GlowkitError
from glowkit.models import ContinuousConfig, ResFlowConfig, from_settings, to_settings
from glowkit.nets.following import following

TINY = ResFlowConfig((1, 4, 4), scales=2, blocks=1, width=4, evaluation_terms=6, pixel_levels=17)


def test_images_go_through_and_back_and_log_p_is_an_estimate() -> None:
    torch.manual_seed(0)
    model, x = glowkit.build(TINY), torch.randint(17, (20, 1, 4, 4))
    assert glowkit.initialize(model, x) == 4
    assert model.log_p_kind == "estimate"
    noises, log_p = model.encode(x, generator=MIDPOINT)
    assert noises[0].shape == (20, 4, 2, 2)
    with torch.no_grad(), glowkit.frozen(model):
        again, log_p_again = model.decode(noises)
    assert torch.equal(again, x.to(torch.uint8))
    assert torch.allclose(log_p, log_p_again, atol=1e-3)
    assert from_settings(to_settings(TINY)) == TINY


def test_its_draws_are_of_its_exact_log_p() -> None:
    """Against the sum of the blocks' own log-determinants, at one and the same v."""
    torch.manual_seed(0)
    model = glowkit.build(TINY)
    glowkit.initialize(model, torch.randint(17, (20, 1, 4, 4)))
    model.double()
    inside, v = model.density, torch.rand(1, 1, 4, 4).double()
    y, ladj = inside.bijection(v)
    exact = inside.density.log_prob(y) + ladj
    many = v.expand(40, -1, -1, -1)
    with torch.no_grad(), glowkit.frozen(model):
        means = torch.stack([inside.log_prob(many).mean() for _ in range(60)])
    assert (means.mean() - exact).abs() <= 4 * means.std() / 60**0.5


def test_training_follows_its_norms_and_has_gradients_everywhere() -> None:
    torch.manual_seed(0)
    model, x = glowkit.build(TINY), torch.randint(17, (8, 1, 4, 4))
    glowkit.initialize(model, x)
    before = {name: buffer.clone() for name, buffer in model.named_buffers() if "image" in name}
    assert before
    model.train()
    with following(model):
        loss = -model.log_prob(x).mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    moved = dict(model.named_buffers())
    assert any(not torch.equal(moved[name], buffer) for name, buffer in before.items())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lipschitz": 1.0}, "lipschitz is 1.0; it must be more than 0 and less than 1"),
        ({"scales": 4}, "divisible by 8"),
        ({"classes": 3}, "a residual flow"),
        ({"blocks": 0}, "blocks"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(GlowkitError, match=words):
        replace(TINY, **settings)


@pytest.mark.parametrize("training", ["likelihood", "matching"])
def test_hutchinson_makes_a_continuous_flow_an_estimate(training: str) -> None:
    torch.manual_seed(0)
    config = ContinuousConfig(2, 8, 1, 4, training)
    exact = glowkit.build(config)
    estimated = glowkit.build(replace(config, divergence="hutchinson"))
    with torch.no_grad():
        for parameter in exact.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    glowkit.initialize(exact, torch.randn(20, 2))
    estimated.load_state_dict(exact.state_dict())
    assert (exact.log_p_kind, estimated.log_p_kind) == ("exact", "estimate")
    x = torch.randn(1, 2).expand(2000, -1)
    with torch.no_grad():
        draws = estimated.log_prob(x)
        wanted = exact.log_prob(x[:1])
    assert draws.std() > 0
    assert (draws.mean() - wanted).abs() <= 4 * draws.std() / 2000**0.5 + 1e-5
    with pytest.raises(GlowkitError, match="divergence"):
        replace(config, divergence="guess")
