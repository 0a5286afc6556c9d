"""Tasks answer what they cannot do in a sentence, and never with a figure of something else."""

from typing import Any

import pytest
import torch

import glowkit
from glowkit.densities import Dequantize, StandardNormal, Uniform
from glowkit.tasks import bits_per_dim, evaluate, interpolate, keep_coarse, nearest
from glowkit.tasks.evaluation import largest_pixel_error

SHAPE = (1, 2, 2)


def hand_made() -> Dequantize:
    return Dequantize(Uniform(SHAPE), StandardNormal(SHAPE), levels=4)


def images(n: int = 3) -> torch.Tensor:
    return torch.arange(4 * n).reshape(n, *SHAPE) % 4


def test_bits_are_not_counted_of_continuous_values() -> None:
    model = hand_made()
    for density, x in ((model.density, images() / 4), (StandardNormal((2,)), torch.zeros(1, 2))):
        with pytest.raises(glowkit.GlowkitError, match="whole numbers"):
            bits_per_dim(density, x)


def test_a_hand_made_model_is_evaluated_with_its_levels() -> None:
    figures = evaluate(hand_made(), [(images(), None)])
    assert (figures.levels, figures.images, figures.largest_pixel_error) == (4, 3, 0)


@pytest.mark.parametrize("batches", [[images()], [(images(),)], [None]], ids=["tensors", "1", "0"])
def test_batches_are_pairs(batches: Any) -> None:
    with pytest.raises(glowkit.GlowkitError, match="pairs"):
        evaluate(hand_made(), batches)


def test_images_of_other_shapes_are_not_compared() -> None:
    with pytest.raises(glowkit.GlowkitError, match="cannot be compared"):
        largest_pixel_error(images(3), images(1))
    with pytest.raises(glowkit.GlowkitError, match="cannot be compared"):
        nearest(images(), [torch.zeros(2, 1, 3, 3)])


@pytest.mark.parametrize("number", [0, 1.5, True, None], ids=str)
def test_counts(number: Any) -> None:
    noises = hand_made().draw_noises(3)
    with pytest.raises(glowkit.GlowkitError, match="whole number"):
        nearest(images(), [images()], number)
    with pytest.raises(glowkit.GlowkitError, match=r"whole number|2 or more"):
        interpolate(hand_made(), noises, number)
    if number != 0:
        with pytest.raises(glowkit.GlowkitError, match="whole number"):
            keep_coarse(hand_made(), noises, number)


def test_each_example_of_a_path_has_its_context() -> None:
    model = glowkit.build(glowkit.GlowConfig((1, 4, 4), 1, 1, 4, classes=2))
    with pytest.raises(glowkit.GlowkitError, match="one for each"):
        interpolate(model, model.draw_noises(3), 2, context=torch.tensor([0, 1]))
