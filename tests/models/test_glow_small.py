"""Glow with mixture couplings, a 1x1 last convolution and variational dequantization."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import glowkit
from glowkit.bijections import Coupling, ElementwiseAffine, LogisticMixture
from glowkit.core import Density
from glowkit.densities import Dequantize, StandardNormal, Then, Uniform
from glowkit.models import GlowConfig, count_parameters
from glowkit.tasks import training_loss

SMALL = GlowConfig(
    (1, 8, 12),
    levels=2,
    steps=2,
    width=8,
    coupling="mixture",
    last_kernel=1,
    dequantization="variational",
    dequantization_steps=2,
    dequantization_width=6,
)


def images(config: GlowConfig, n: int = 8) -> torch.Tensor:
    """Smooth images with noise: dequantization and couplings have something to learn."""
    generator = torch.Generator().manual_seed(0)
    _, height, width = config.image_shape
    ramp = torch.linspace(0, 0.8, height)[:, None] + torch.linspace(0, 0.1, width)
    noise = 0.1 * torch.rand(n, *config.image_shape, generator=generator)
    values = (config.pixel_levels * (ramp + noise)).floor()
    return values.to(torch.uint8 if config.pixel_levels <= 256 else torch.int32)


def ready(config: GlowConfig, gain: float = 0.0) -> tuple[Density, torch.Tensor]:
    torch.manual_seed(0)
    model = glowkit.build(config)
    batch = images(config)
    glowkit.initialize(model, batch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(gain * torch.randn_like(parameter))
    return model, batch


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"components": 8}, "coupling 'mixture'"),
        ({"bins": 4}, "coupling 'spline'"),
        ({"coupling": "spline", "components": 8}, "coupling 'mixture'"),
        ({"coupling": "mixture", "components": 0}, "components is 0"),
        ({"coupling": "spline", "bins": 0}, "bins is 0"),
        ({"last_kernel": 2}, "1 or 3"),
        ({"dequantization": "midpoint"}, "variational"),
        ({"dequantization_steps": 2}, "dequantization 'variational'"),
        ({"dequantization_width": 2}, "dequantization 'variational'"),
        ({"dequantization": "variational", "dequantization_steps": 0}, "at least 1"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(setting: dict[str, Any], word: str) -> None:
    with pytest.raises(glowkit.GlowkitError, match=word):
        GlowConfig((1, 8, 8), **setting)


@pytest.mark.parametrize("coupling", ["affine", "additive", "mixture", "spline"])
@pytest.mark.parametrize("dequantization", ["uniform", "variational"])
def test_midpoint_reconstructs_every_pixel(coupling: str, dequantization: str) -> None:
    settings: dict[str, Any] = {"levels": 2, "steps": 2, "width": 8, "coupling": coupling}
    config = GlowConfig((1, 8, 12), dequantization=dequantization, **settings)
    model, batch = ready(config, gain=0.02)
    assert torch.equal(glowkit.reconstruct(model, batch), batch)
    first, again = (model.encode(batch, None, glowkit.MIDPOINT)[1] for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize("pixel_levels", [2, 17, 65536])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_channels_and_pixel_levels(channels: int, pixel_levels: int) -> None:
    config = dataclasses.replace(
        SMALL, image_shape=(channels, 8, 12), pixel_levels=pixel_levels, memory="checkpoint"
    )
    model, batch = ready(config, gain=0.02)
    model = model.double() if pixel_levels > 4096 else model
    loss, _ = training_loss(model, batch)
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    assert torch.equal(glowkit.reconstruct(model, batch), batch)
    assert model.sample(2).shape == (2, channels, 8, 12)


def test_decoding_gives_back_the_log_probability_of_the_draw() -> None:
    model, batch = ready(SMALL, gain=0.02)
    model = model.double()
    noises, log_p = model.encode(batch, None, torch.Generator().manual_seed(0))
    back, log_p_back = model.decode(noises)
    assert torch.equal(back, batch)
    assert (log_p - log_p_back).abs().max() <= 1e-6


def test_survives_save_and_load(tmp_path: Path) -> None:
    model, batch = ready(SMALL, gain=0.02)
    glowkit.save(model, tmp_path)
    loaded = glowkit.load(tmp_path)
    seeded = [m.log_prob(batch, None, torch.Generator().manual_seed(1)) for m in (model, loaded)]
    assert torch.equal(*seeded)


def test_every_component_and_the_image_features_learn() -> None:
    """Neither two zeros in a row nor equal components: all weights move within three steps."""
    model, batch = ready(SMALL)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for seed in range(3):
        optimizer.zero_grad()
        training_loss(model, batch, None, torch.Generator().manual_seed(seed))[0].backward()
        optimizer.step()
    idle = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    # A convolution over zeros, see `TopPrior`, has weights that stay as they are.
    assert all("border" in name for name in idle)
    for coupling in (m for m in model.modules() if isinstance(m, Coupling)):
        assert isinstance(coupling.transformer, LogisticMixture)
        by_channel = coupling.net.last.weight.flatten(1).unflatten(0, (-1, 14))
        means = by_channel[0, 6:10]
        assert (means.diff(dim=0).abs().amax(1) > 1e-6).all()


def test_a_learned_noise_tightens_the_bound() -> None:
    """N(0, 1) over eight bins of width one falls steeply in the third, and its mass is known."""
    shape = (1, 2, 2)
    torch.manual_seed(0)
    stretch = ElementwiseAffine(shape)
    torch.nn.init.constant_(stretch.log_scale, math.log(8))
    model = Dequantize(Uniform(shape), Then(stretch, StandardNormal(shape)), levels=8)
    batch = torch.full((64, *shape), 2, dtype=torch.uint8)
    normal = torch.distributions.Normal(0.0, 1.0)
    exact = -((normal.cdf(torch.tensor(3.0)) - normal.cdf(torch.tensor(2.0))).log2().item())
    uniform = glowkit.bits_per_dim(model, batch).mean().item()
    config = GlowConfig(
        shape,
        levels=1,
        steps=1,
        pixel_levels=8,
        coupling="mixture",
        dequantization="variational",
        dequantization_steps=1,
        dequantization_width=4,
    )
    model.noise = glowkit.build(config).noise
    glowkit.initialize(model, batch)
    optimizer = torch.optim.Adam(model.noise.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        glowkit.bits_per_dim(model, batch).mean().backward()
        optimizer.step()
    with torch.no_grad():
        learned = glowkit.bits_per_dim(model, batch.repeat(8, 1, 1, 1)).mean().item()
    assert exact - 0.005 <= learned
    assert learned - exact < 0.3 * (uniform - exact)


def test_the_preset_is_small_and_learns() -> None:
    config = glowkit.PRESETS["glow-small"]
    assert 200_000 <= count_parameters(config) <= 500_000
    model, batch = ready(config)
    # A small rate, since there is no warm-up; the same noise each time, to compare like with like.
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss, _ = training_loss(model, batch, None, torch.Generator().manual_seed(0))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
    assert torch.equal(glowkit.reconstruct(model, batch), batch)
