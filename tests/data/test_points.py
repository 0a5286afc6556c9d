"""The laws of the 2-D densities: sampler, log-density and entropy belong to one density."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import make_circles, make_moons

from glowkit.data import PointSource, open_source
from glowkit.data.toy import POINTS, PointDensity, grid, integrate_entropy
from glowkit.system.errors import GlowkitError

every = pytest.mark.parametrize("name", POINTS)
smooth = pytest.mark.parametrize("name", [name for name in POINTS if name != "checkerboard"])
SAMPLES = 20000
SIGMAS = 4.5  # of a Monte-Carlo error; the seeds are fixed, so nothing fails now and then


@cache
def made(name: str) -> PointDensity:
    return POINTS[name]()


@cache
def entropy(name: str) -> float:
    """An integral of seconds."""
    return made(name).entropy()


def test_the_names() -> None:
    assert list(POINTS) == [
        *("8gaussians", "checkerboard", "2spirals"),
        *("circles", "moons", "pinwheel", "rings"),
    ]


@every
def test_sampler_density_and_entropy_belong_together(name: str) -> None:
    """One test, since a density of curves is an integral at each of these points."""
    # Steps of half of σ: such sums are exact then, and a finer grid takes long.
    density, cells, fine = made(name), 16, 12
    points = grid(density.half_side, cells * fine)
    p = np.exp(density.log_prob(points))
    area = (2 * density.half_side / (cells * fine)) ** 2
    assert p.sum() * area == pytest.approx(1, abs=1e-6)
    p /= p.sum()

    x = density.sample(SAMPLES, np.random.default_rng(1))
    losses = -density.log_prob(x)
    error = losses.std() / math.sqrt(SAMPLES)
    assert abs(losses.mean() - entropy(name)) <= SIGMAS * error + 1e-12

    for power in (1, 2):
        error = (x**power).std(0) / math.sqrt(SAMPLES)
        moments = (x**power).mean(0)
        assert (np.abs(moments - p @ points**power) <= SIGMAS * error + 1e-3).all()

    edges = np.linspace(-density.half_side, density.half_side, cells + 1)
    counts, _, _ = np.histogram2d(x[:, 1], x[:, 0], bins=[edges, edges])
    assert counts.sum() == SAMPLES
    # Each cell's probability is a sum over fine x fine points in it.
    expected = SAMPLES * p.reshape(cells, fine, cells, fine).sum((1, 3))
    assert (np.abs(counts - expected) <= SIGMAS * np.sqrt(expected + 1) + 1).all()


@smooth
def test_the_entropy_does_not_depend_on_the_grid(name: str) -> None:
    density = made(name)
    step = 0.06 * density.half_side / 8 if name == "rings" else 0.03
    assert integrate_entropy(density, step) == pytest.approx(entropy(name), abs=2e-5)


def test_a_single_gaussian_has_its_closed_form() -> None:
    """Eight modes seven deviations apart or less: ln 8 more than one, less a little overlap."""
    alone = 1 + math.log(2 * math.pi * 0.1**2)
    entropy = POINTS["8gaussians"]().entropy()
    assert alone + math.log(8) - 0.05 < entropy < alone + math.log(8)
    assert POINTS["checkerboard"]().entropy() == math.log(32)


def spirals() -> np.ndarray:
    """FFJORD's, with its Gaussian noise alone."""
    rng = np.random.default_rng(2)
    n = np.sqrt(rng.random(SAMPLES)) * 540 * (2 * np.pi) / 360
    arm = np.stack([-np.cos(n) * n, np.sin(n) * n], 1) * rng.choice([-1, 1], SAMPLES)[:, None]
    return arm / 3 + 0.1 * rng.standard_normal((SAMPLES, 2))


def rings() -> np.ndarray:
    """FFJORD's."""
    rng = np.random.default_rng(2)
    angle = 2 * np.pi * rng.random(SAMPLES)
    radius = 3 * rng.choice([1, 0.75, 0.5, 0.25], SAMPLES)[:, None]
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    return radius * circle + 0.08 * rng.standard_normal((SAMPLES, 2))


USUAL = {
    "circles": lambda: 3 * make_circles(SAMPLES, factor=0.5, noise=0.08, random_state=2)[0],
    "moons": lambda: 2 * make_moons(SAMPLES, noise=0.1, random_state=2)[0] + [-1, -0.2],
    "2spirals": spirals,
    "rings": rings,
}


@pytest.mark.parametrize("name", USUAL)
def test_the_density_is_that_of_the_usual_sampler(name: str) -> None:
    losses = -made(name).log_prob(USUAL[name]())
    error = losses.std() / math.sqrt(SAMPLES)
    assert abs(losses.mean() - entropy(name)) <= SIGMAS * error


def test_far_away_nothing_overflows() -> None:
    far = np.array([[1e3, -1e3], [0.0, 1e4]])
    for name, make in POINTS.items():
        log_p = make().log_prob(far)
        assert (log_p < -1e3).all(), name
        assert not np.isnan(log_p).any(), name


def test_eight_gaussians_as_specified() -> None:
    source = open_source("points:8gaussians")
    assert isinstance(source, PointSource)
    assert {name: len(split) for name, split in source.splits.items()} == {
        "train": 65536,
        "validation": 8192,
        "test": 65536,
    }
    angle = 2 * np.pi * np.arange(8) / 8
    peaks = 0.7 * np.stack([np.cos(angle), np.sin(angle)], 1)
    height = math.log(1 / 8 / (2 * math.pi * 0.1**2))
    assert np.abs(source.density.log_prob(peaks) - height).max() < 1e-5


def test_points_are_the_same_every_time_and_different_in_every_split() -> None:
    first, again = (open_source("points:moons").splits for _ in range(2))
    for name in first:
        assert torch.equal(first[name].points, again[name].points)
    assert not torch.equal(first["train"].points, first["test"].points)
    # Written down: figures reported for one version must hold for the next.
    assert first["test"].points[0].tolist() == pytest.approx(WRITTEN_DOWN, abs=1e-6)


WRITTEN_DOWN = [0.078687, 1.102844]


def test_writing_to_a_batch_leaves_the_points_alone() -> None:
    split = open_source("points:moons").splits["test"]
    before = split[3].clone()
    split.__getitems__(slice(None)).zero_()
    split.__getitems__([3]).zero_()
    split[3].zero_()
    assert torch.equal(split[3], before)


@pytest.mark.parametrize("spec", ["points:8gaussian", "points:", "points"])
def test_an_unknown_name_gets_the_list(spec: str) -> None:
    with pytest.raises(GlowkitError, match="8gaussians, checkerboard, 2spirals") as error:
        open_source(spec)
    assert "\n" not in str(error.value)


def test_image_options_are_refused() -> None:
    with pytest.raises(GlowkitError, match="--size"):
        open_source("points:moons", size=8)
