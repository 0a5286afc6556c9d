"""The Gaussian baselines against densities whose entropy is known."""

import math

import pytest
import torch
from torch import Tensor

from glowkit import GlowkitError
from glowkit.tasks.baselines import MOST_DIMENSIONS, gaussian_baselines

LEVELS = 256
MIXTURE = "mixture of 10 Gaussians"
# Lower triangular, in levels: pixels with standard deviations of 8 to 13 levels, correlated.
FACTOR = torch.tensor([[8.0, 0, 0, 0], [6, 10, 0, 0], [-5, 4, 8, 0], [3, 3, 3, 12]])


def gaussian_images(n: int, seed: int, mean: float = 128.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = mean + torch.randn(n, 4, generator=generator) @ FACTOR.T
    return x.round().clamp(0, LEVELS - 1).to(torch.uint8).reshape(n, 1, 2, 2)


def entropy() -> float:
    """Of the Gaussian in bits/dim, which rounding to levels this fine leaves as it is."""
    log_det = FACTOR.diagonal().log2().mean().item()
    return math.log2(2 * math.pi * math.e) / 2 + log_det


def test_gaussian_reaches_the_entropy_of_gaussian_images() -> None:
    bits = gaussian_baselines(gaussian_images(4000, 0), gaussian_images(4000, 1), LEVELS)
    assert bits["Gaussian"] == pytest.approx(entropy(), abs=0.02)
    assert bits[MIXTURE] == pytest.approx(entropy(), abs=0.05)


def test_mixture_reaches_the_entropy_of_two_clusters() -> None:
    def clusters(seed: int) -> Tensor:
        return torch.cat([gaussian_images(2000, seed + i, (60.0, 190.0)[i]) for i in range(2)])

    bits = gaussian_baselines(clusters(0), clusters(10), LEVELS)
    # Which of the two is one bit more, shared by four dimensions.
    assert bits[MIXTURE] == pytest.approx(entropy() + 1 / 4, abs=0.05)
    assert bits["Gaussian"] > bits[MIXTURE] + 0.2


def test_constant_pixels_cost_no_more_than_their_range() -> None:
    images = torch.zeros(40, 1, 2, 2, dtype=torch.int32)
    bits = gaussian_baselines(images, images, levels=65536)
    assert 0 < bits["Gaussian"] < 1


def test_same_seed_same_figures() -> None:
    train, test = gaussian_images(100, 0), gaussian_images(50, 1)
    assert gaussian_baselines(train, test, LEVELS, 3) == gaussian_baselines(train, test, LEVELS, 3)


@pytest.mark.parametrize(
    ("train", "test", "sentence"),
    [
        (torch.zeros(20, 1, 1, MOST_DIMENSIONS + 1), torch.zeros(1, 1, 1, 1), "at most 1024"),
        (torch.zeros(20, 1, 2, 2), torch.zeros(5, 1, 2, 3), r"\(1, 2, 3\)"),
        (torch.zeros(9, 1, 2, 2), torch.zeros(5, 1, 2, 2), "at least 10 training images"),
        (torch.zeros(20, 1, 2, 2), torch.zeros(0, 1, 2, 2), "1 test image"),
    ],
)
def test_bad_input_is_said_in_a_sentence(train: Tensor, test: Tensor, sentence: str) -> None:
    with pytest.raises(GlowkitError, match=sentence):
        gaussian_baselines(train.int(), test.int(), LEVELS)
