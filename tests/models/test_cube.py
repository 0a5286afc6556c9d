"""Flows on the unit cube: uniform at first, never outside, saved, and of all coordinates."""

from itertools import permutations
from pathlib import Path

import pytest
import torch

import glowkit
from glowkit.models.cube import masks

CONFIGS = {
    "one dimension": glowkit.CubeConfig(1, bins=4),
    "spline": glowkit.CubeConfig(3, width=8),
    "linear": glowkit.CubeConfig(2, coupling="linear", rounds=2, width=8),
    "quadratic": glowkit.CubeConfig(5, coupling="quadratic", encoding="one-blob", width=8),
}
every = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def strong(config: glowkit.CubeConfig, dtype: torch.dtype) -> glowkit.Density:
    torch.manual_seed(0)
    model = glowkit.build(config).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.7 * torch.randn_like(parameter))
    return model


@every
def test_a_fresh_one_is_uniform(config: glowkit.CubeConfig) -> None:
    x = torch.rand(50, config.dimensions)
    assert glowkit.build(config).log_prob(x).abs().max() < 1e-5


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_are_inside_and_have_a_density(
    config: glowkit.CubeConfig, dtype: torch.dtype
) -> None:
    model = strong(config, dtype)
    x = model.sample(4000)
    assert x.min() >= 0
    assert x.max() <= 1
    assert model.log_prob(x).isfinite().all()
    corners = torch.tensor([[0.0] * config.dimensions, [1.0] * config.dimensions], dtype=dtype)
    assert model.log_prob(corners).isfinite().all()
    assert model.log_prob(corners + 1.5).eq(-torch.inf).all()


@every
def test_the_density_integrates_to_one(config: glowkit.CubeConfig) -> None:
    model = strong(config, torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.4)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(20_000, config.dimensions, dtype=torch.float64, generator=generator)
    p = model.log_prob(x).detach().exp()
    assert abs(p.mean() - 1) < 5 * p.std() / len(p) ** 0.5 < 0.2


@every
def test_it_is_saved(config: glowkit.CubeConfig, tmp_path: Path) -> None:
    model, x = strong(config, torch.float64), torch.rand(9, config.dimensions).double()
    glowkit.save(model, tmp_path / "model")
    again = glowkit.load(tmp_path / "model")
    assert again.config == config
    assert torch.equal(again.log_prob(x), model.log_prob(x))


@pytest.mark.parametrize("dimensions", [2, 3, 4, 7, 16])
def test_of_any_two_coordinates_each_is_transformed_given_the_other(dimensions: int) -> None:
    kept = [set(mask) for mask in masks(dimensions)]
    for a, b in permutations(range(dimensions), 2):
        assert any(a in mask and b not in mask for mask in kept)
    assert all(0 < len(mask) < dimensions for mask in kept)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"dimensions": 0}, "at least 1"),
        ({"coupling": "affine"}, "choose one of spline, linear, quadratic"),
        ({"encoding": "fourier"}, "choose one of plain, one-blob"),
        ({"blobs": 8}, "only encoding one-blob uses it"),
        ({"bins": 501}, "at most 500"),
        ({"classes": 2}, "not conditional"),
    ],
)
def test_settings_that_cannot_be(setting: dict, words: str) -> None:
    with pytest.raises(glowkit.GlowkitError, match=words):
        glowkit.CubeConfig(**setting)
