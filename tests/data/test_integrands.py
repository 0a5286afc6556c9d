"""Benchmark integrands have the integrals that they say; a picture has the mean of its pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from glowkit.data.integrands import (
    NAMES,
    BenchmarkIntegrand,
    benchmark_integrand,
    of_pixels,
    picture_integrand,
)
from glowkit.system.errors import GlowkitError


def product_rule(f: BenchmarkIntegrand, nodes: np.ndarray, weights: np.ndarray) -> float:
    grids = np.meshgrid(*[nodes] * f.dims, indexing="ij")
    each = np.meshgrid(*[weights] * f.dims, indexing="ij")
    x = torch.from_numpy(np.stack([grid.ravel() for grid in grids], 1))
    values = torch.cat([f(part) for part in x.split(100_000)]).numpy()
    return float((values * np.prod([w.ravel() for w in each], 0)).sum())


@pytest.mark.parametrize(
    "name", ["gauss:1", "gauss:3", "camel:2", "camel:3", "box", "triangle", "polynomial:3"]
)
def test_smooth_ones_by_gauss_and_legendre(name: str) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(40)
    f = benchmark_integrand(name)
    assert product_rule(f, (nodes + 1) / 2, weights / 2) == pytest.approx(f.exact, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "cells", "tolerance"),
    [("circles", 1500, 2e-5), ("ring", 1500, 1e-4), ("diagonal:1", 100_000, 1e-5)],
)
def test_the_others_by_midpoints(name: str, cells: int, tolerance: float) -> None:
    f = benchmark_integrand(name)
    middles = (np.arange(cells) + 0.5) / cells
    found = product_rule(f, middles, np.full(cells, 1 / cells))
    assert found == pytest.approx(f.exact, rel=tolerance)


@pytest.mark.parametrize(("name", "centre"), [("gauss:1000", 1 / 2), ("camel:1000", 1 / 3)])
def test_of_as_many_dimensions_as_there_may_be(name: str, centre: float) -> None:
    """A deviation from the peak in each: e^(1036 - 500), where e^1036 is no number."""
    x = torch.full((1, 1000), centre + 0.2 / 2**0.5, dtype=torch.float64)
    assert 530 < float(benchmark_integrand(name)(x).log()) < 540


def test_peaks_on_the_diagonal_by_flat_sampling() -> None:
    f = benchmark_integrand("diagonal:3")
    generator = torch.Generator().manual_seed(0)
    values = f(torch.rand(100_000, 3, dtype=torch.float64, generator=generator))
    assert abs(values.mean() - f.exact) < 4 * values.std() / 100_000**0.5


def test_every_name_gives_an_integrand_of_vectors() -> None:
    for name in NAMES:
        f = benchmark_integrand(name.replace("DIMS", "5"))
        x: Tensor = torch.rand(7, f.dims, dtype=torch.float64)
        assert f(x).shape == (7,)
        assert f(x).dtype == torch.float64


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("camle:4", "no integrand 'camle:4'; choose one of gauss:DIMS"),
        ("camel", "does not say of how many dimensions"),
        ("camel:0", "for example camel:4"),
        ("camel:x", "1 to 1000"),
        ("ring:3", "ring is of 2 dimensions always"),
    ],
)
def test_names_that_do_not_exist(spec: str, words: str) -> None:
    with pytest.raises(GlowkitError, match=words):
        benchmark_integrand(spec)


def test_a_picture_is_its_pixels_and_its_mean(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    f = picture_integrand(tmp_path / "a.png")
    column, row = torch.meshgrid(torch.arange(7), torch.arange(5), indexing="xy")
    x = torch.stack([(column + 0.5) / 7, 1 - (row + 0.5) / 5], 2).double().view(-1, 2)
    assert torch.allclose(f(x).view(5, 7), torch.from_numpy(pixels / 255.0))
    middles = (np.arange(700) + 0.5) / 700
    assert product_rule(f, middles, np.full(700, 1 / 700)) == pytest.approx(f.exact, rel=1e-9)


def test_a_large_picture_is_reduced_in_its_proportions_and_keeps_its_mean(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    f = picture_integrand(tmp_path / "a.png", side=24)
    assert f.pixels.shape == (16, 24)
    means = pixels.reshape(16, 4, 24, 4).mean((1, 3)) / 255
    assert torch.allclose(f.pixels, torch.from_numpy(means), atol=1e-6)
    assert f.exact == pytest.approx(pixels.mean() / 255)


def test_pictures_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(GlowkitError, match="no such image file"):
        picture_integrand(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(GlowkitError, match="cannot be read as an image"):
        picture_integrand(tmp_path / "text.png")
    Image.new("L", (3, 3)).save(tmp_path / "black.png")
    with pytest.raises(GlowkitError, match="black all over"):
        picture_integrand(tmp_path / "black.png")


def test_beyond_the_outer_pixels_brightness_is_theirs() -> None:
    f = of_pixels(torch.tensor([[0.25, 1.0]], dtype=torch.float64))
    x = torch.tensor([[0.0, 0.0], [0.2, 1.0], [1.0, 0.5]], dtype=torch.float64)
    assert f(x).tolist() == [0.25, 0.25, 1.0]
