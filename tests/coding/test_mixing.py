"""Images without a model: what is learnt in one direction is learnt in the other."""

import numpy as np
import pytest

from glowkit.tasks.coding.mixing import Coded, ContextMixing
from glowkit.tasks.coding.stack import Constriction, Stack, Words


def pictures(shape: tuple[int, ...], levels: int, count: int = 3) -> np.ndarray:
    """Ramps with noise on them, and one image of noise alone."""
    random = np.random.default_rng(0)
    ramps = np.linspace(0, levels - 1, shape[-1]) + random.normal(size=(count, *shape))
    images = np.clip(ramps, 0, levels - 1).astype(np.int64)
    images[1] = random.integers(levels, size=shape)
    return images


def coded(images: np.ndarray, levels: int) -> list[Coded]:
    mixing = ContextMixing(images.shape[1:], levels)
    return [mixing.coded(image) for image in images]


@pytest.mark.parametrize(
    ("shape", "levels"),
    [((1, 5, 7), 256), ((3, 4, 4), 32), ((4, 2, 3), 2), ((2, 1, 9), 300), ((1, 6, 1), 65536)],
)
@pytest.mark.parametrize("coder", [Words, Constriction])
def test_images_come_back(shape: tuple[int, ...], levels: int, coder: type) -> None:
    if coder is Constriction:
        pytest.importorskip("constriction")
    images, stack = pictures(shape, levels), Stack(coder())
    symbols = coded(images, levels)
    for image in reversed(symbols):
        image.push(stack)
    assert stack.bits() == pytest.approx(sum(image.bits for image in symbols), abs=64)
    mixing = ContextMixing(shape, levels)
    for image in images:
        assert np.array_equal(mixing.pop(stack), image)
    assert not stack.bits()


def test_a_word_of_both_coders_is_one() -> None:
    pytest.importorskip("constriction")
    images, stacks = pictures((1, 6, 6), 17), (Stack(Words()), Stack(Constriction()))
    for image in coded(images, 17):
        for stack in stacks:
            image.push(stack)
    assert stacks[0].place() == stacks[1].place()


def test_it_learns() -> None:
    """Most of an image seen before is known; noise takes what it is, and black next to nothing."""
    image = pictures((1, 12, 12), 256, 1 + 1)[:1]
    first, *_, last = (one.bits for one in coded(np.repeat(image, 4, 0), 256))
    assert last < first / 2
    noise = np.random.default_rng(1).integers(256, size=(3, 1, 12, 12))
    assert sum(one.bits for one in coded(noise, 256)) < 1.1 * 8 * noise.size
    assert sum(one.bits for one in coded(np.zeros((9, 1, 12, 12), np.int64), 256)) < 50


def test_a_value_costs_something_always() -> None:
    """As a decoder relies upon: at least 0.0014 bits, so that a file holds no endless images."""
    one = coded(np.zeros((30, 1, 8, 8), np.int64), 2)[-1]
    assert one.shares.max() < (1 << 24) * (1 - 2.0**-11)
