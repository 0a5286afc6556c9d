"""RealNVP as the specification has it: masks, order of the scales, batch norm, refusals."""

import dataclasses

import pytest
import torch

import glowkit
from glowkit.bijections import MaskedBatchNorm, checkerboard
from glowkit.core import Density
from glowkit.models import RealNVPConfig, from_settings, to_settings
from glowkit.nets import RunningMoments, following_moments
from glowkit.tasks import training_loss

TINY = RealNVPConfig((1, 4, 4), levels=2, blocks=1, width=8, pixel_levels=17)


def images(config: RealNVPConfig, n: int = 16) -> torch.Tensor:
    size = (n, *config.image_shape)
    return torch.randint(0, config.pixel_levels, size, dtype=torch.uint8)


def ready(config: RealNVPConfig = TINY) -> tuple[Density, torch.Tensor]:
    torch.manual_seed(0)
    model, batch = glowkit.build(config), images(config)
    glowkit.initialize(model, batch)
    return model, batch


def moments(model: Density) -> list[torch.Tensor]:
    layers = [m for m in model.modules() if isinstance(m, RunningMoments)]
    return [t.clone() for layer in layers for t in (layer.mean, layer.variance)]


def loss_of(model: Density, batch: torch.Tensor) -> torch.Tensor:
    return training_loss(model, batch, None, torch.Generator().manual_seed(1))[0]


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 8, 4), (2, 4, 12)])
@pytest.mark.parametrize("levels", [1, 2])
def test_round_trip(shape: tuple[int, int, int], levels: int) -> None:
    config = RealNVPConfig(shape, levels=levels, blocks=1, width=8)
    model, batch = ready(config)
    assert torch.equal(glowkit.reconstruct(model, batch), batch)
    assert model.sample(2).shape == (2, *shape)


def test_half_of_the_channels_leave_at_each_scale() -> None:
    model = glowkit.build(RealNVPConfig((3, 16, 8), levels=3, blocks=0, width=2))
    shapes = [spec.shape for spec in model.noise_specs()]
    assert shapes == [(6, 8, 4), (12, 4, 2), (12, 4, 2)]


def test_what_leaves_is_one_colour_of_the_checkerboard() -> None:
    """Without couplings' and batch norms' doing, the last scale holds the even cells' logits."""
    model = glowkit.build(RealNVPConfig((1, 4, 4), blocks=0, width=2, pixel_levels=2)).double()
    for name, parameter in model.named_parameters():
        if "gain" in name or name.endswith(("magnitude", "bias", "shift")):
            torch.nn.init.zeros_(parameter)
    black = checkerboard(4, 4, 1).to(torch.uint8)[None, None]
    early, late = model.encode(black, None, glowkit.MIDPOINT)[0]
    assert (late > 0).all()
    assert (early < 0).all()


def test_training_moments_are_the_batchs_and_gradients_flow_through_them() -> None:
    layer = MaskedBatchNorm(2, torch.ones(1, 1, 1)).double().train()
    x = torch.randn(5, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    y, ladj = layer(x)
    assert y.mean((0, 2, 3)).abs().max() < 1e-12
    assert (y.var((0, 2, 3), correction=0) - 1).abs().max() < 1e-3
    # Each output sums to a constant, so that no gradient is left; fixed moments would leave some.
    (gradient,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    assert gradient.abs().max() < 1e-12
    assert torch.autograd.grad(ladj.sum(), x)[0].abs().max() > 0
    assert torch.autograd.gradcheck(lambda t: layer(t), (x,))


def test_running_moments_move_in_training_and_only_where_they_are_followed() -> None:
    model, batch = ready()
    before = moments(model)
    model.train()
    loss_of(model, batch[:8])
    with following_moments(model.eval()):
        loss_of(model, batch[:8])
    assert all(map(torch.equal, before, moments(model)))
    with following_moments(model.train()):
        loss = loss_of(model, batch[:8])
    after = moments(model)
    loss.backward()
    assert not any(map(torch.equal, before, after))
    assert all(p.grad is not None for p in model.parameters())
    assert not any(t.requires_grad for t in after)


def test_a_running_moment_moves_a_tenth_of_the_way_and_never_to_what_is_not_finite() -> None:
    layer = RunningMoments(2).train()
    x = torch.stack([torch.full((4, 3), 2.0), torch.full((4, 3), float("nan"))], dim=1)
    with following_moments(layer):
        layer(x)
    assert layer.mean.tolist() == pytest.approx([0.2, 0.0])
    assert layer.variance.tolist() == pytest.approx([0.9, 1.0])


def test_checkpointed_activations_give_the_same_gradients_and_move_moments_once() -> None:
    results = []
    for memory in ("store", "checkpoint"):
        model, batch = ready(dataclasses.replace(TINY, memory=memory))
        with following_moments(model.train()):
            loss = loss_of(model, batch)
        loss.backward()
        gradients = [p.grad for p in model.parameters()]
        results.append((gradients, moments(model)))
    for stored, checkpointed in zip(*results, strict=True):
        assert all(map(torch.equal, stored, checkpointed))


def test_decoding_in_training_mode_says_what_to_do() -> None:
    model, _ = ready()
    with pytest.raises(glowkit.GlowkitError, match=r"model\.eval\(\)"):
        model.train().sample(1)


def test_initialisation_starts_the_moments_once() -> None:
    model, batch = ready()
    model.double()
    assert glowkit.initialize(model, batch) == 0
    in_evaluation = model.log_prob(batch, None, glowkit.MIDPOINT)
    assert torch.isfinite(in_evaluation).all()
    assert all(m.initialized for m in model.modules() if isinstance(m, RunningMoments))


def test_evaluation_survives_saving(tmp_path) -> None:
    model, batch = ready()
    with following_moments(model.train()):
        loss_of(model, batch)
    again = glowkit.load(glowkit.save(model.eval(), tmp_path / "model"))
    expected = model.log_prob(batch, None, glowkit.MIDPOINT)
    assert torch.equal(again.log_prob(batch, None, glowkit.MIDPOINT), expected)
    assert from_settings(to_settings(TINY)) == TINY


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"levels": 0}, "at least 1"),
        ({"levels": 4}, "single cell"),
        ({"image_shape": (1, 6, 8), "levels": 3}, "4 or 8"),
        ({"blocks": -1}, "at least 0"),
        ({"classes": 10}, "classes to 0"),
        ({"memory": "disk"}, "checkpoint"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(setting: dict, word: str) -> None:
    with pytest.raises(glowkit.GlowkitError, match=word):
        RealNVPConfig(**{"image_shape": (1, 8, 8), **setting})
