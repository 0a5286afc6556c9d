"""Files of images coded with loss: what is decoded, how long they are, and what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import glowkit
from coding.models import CONFIGS, context_of, digits, trained
from glowkit.core import Density, GlowkitError
from glowkit.tasks.coding.stack import Stack, Words
from glowkit.tasks.lossy import compress, decompress, symbols
from glowkit.tasks.lossy.coder import LossyCodec
from glowkit.tasks.lossy.container import compressed, psnr
from glowkit.tasks.lossy.generations import ssim
from glowkit.tasks.lossy.quantise import closed_loop, rounded
from glowkit.tasks.lossy.symbols import Coded
from glowkit.tasks.lossy.tiles import joined, tiled

WITHOUT = {"NICE", "NICE, normal", "RealNVP", "Flow++", "Flow++, variational"}
"""Models whose priors know nothing of what is decoded."""

ALWAYS = {"affine", "mixture", "logit", "vectors"}
"""Of whom every run of the tests asks; of the others, one before a release."""


@pytest.fixture(scope="module")
def model() -> Density:
    return trained(CONFIGS["affine"])


@pytest.mark.parametrize(
    "name",
    [
        name if name in ALWAYS else pytest.param(name, marks=pytest.mark.slow)
        for name in CONFIGS
        if name not in WITHOUT
    ],
)
def test_what_is_decoded_is_what_the_encoder_says(name: str) -> None:
    config: Any = CONFIGS[name]
    model, (images, labels) = trained(config, steps=2, count=24), digits(12)
    context = context_of(config, labels)
    made = compressed(model, images, 0.05, context, search=False)
    again, given = decompress(model, made.data)
    assert torch.equal(again, made.images)
    assert psnr(images, again, 17) > 30
    if context is not None:
        assert given is not None
        assert torch.allclose(given.float(), context.float(), atol=2.0**-14)


@pytest.mark.parametrize("step", [0.02, 0.1, 0.5])
def test_a_file_is_as_long_as_its_latents_are_unlikely(model: Density, step: float) -> None:
    images, _ = digits(200)
    made = compressed(model, images, step, search=False)
    assert abs(8 * (len(made.data) - 44) / made.ideal_bits - 1) < 0.01


def test_the_closed_loop_of_floats_is_that_of_whole_numbers(model: Density) -> None:
    images, _ = digits(20)
    v = (images.double() + 0.5) / 17
    double = trained(CONFIGS["affine"]).double()
    step = torch.tensor(0.2, dtype=torch.float64)
    _, latents = closed_loop(double.density, v, None, rounded(step))  # type: ignore[arg-type]
    coded, _ = LossyCodec.compile(model).code(images.numpy().astype(np.int64), 0.2)
    for real, whole in zip(latents, coded, strict=True):
        equal = (real.residual.detach() / 0.2).round().numpy() == whole.steps
        assert equal.mean() > 0.99  # but for those at the edge between two
        assert np.allclose(real.log_std.detach().numpy(), whole.log_std, atol=0.02)


def test_a_fixed_point_stays_as_it_is(model: Density) -> None:
    images, _ = digits(30)
    first = compressed(model, images, 0.03)
    assert 0 < first.fixed <= 30
    second = compressed(model, first.images, 0.03)
    same = (second.images == first.images).flatten(1).all(1)
    assert int(same.sum()) >= first.fixed
    loose = compressed(model, images, 0.03, search=False)
    assert psnr(images, first.images, 17) >= psnr(images, loose.images, 17) - 0.3


@pytest.mark.parametrize("sides", [(8, 8), (5, 21), (17, 9), (1, 1)])
def test_images_of_other_sizes_are_tiles(model: Density, sides: tuple[int, int]) -> None:
    images = torch.randint(17, (2, 1, *sides), dtype=torch.uint8)
    assert torch.equal(joined(tiled(images, (8, 8)), *sides), images)
    made = compressed(model, images, 0.02, search=False)
    again, _ = decompress(model, made.data)
    assert again.shape == images.shape
    assert torch.equal(again, made.images)


def test_whole_images_go_through_the_same_weights(model: Density) -> None:
    images = torch.arange(17, dtype=torch.uint8).repeat(12 * 16)[: 12 * 16].reshape(1, 1, 12, 16)
    data = compress(model, images, 0.02, whole=True)
    again, _ = decompress(model, data)
    assert psnr(images, again, 17) > 30
    with pytest.raises(GlowkitError, match="divi"):
        compress(model, images[..., :15], 0.02, whole=True)


def test_colour() -> None:
    torch.manual_seed(0)
    images = torch.randint(256, (6, 3, 8, 8), dtype=torch.uint8)
    model = glowkit.build(glowkit.GlowConfig((3, 8, 8), levels=2, steps=1, width=8))
    glowkit.initialize(model, images)
    made = compressed(model, images, 0.02)
    again, _ = decompress(model, made.data)
    assert torch.equal(again, made.images)
    assert psnr(images, again, 256) > 40


@pytest.mark.parametrize("spread", [0.01, 3.0, 3000.0])
def test_numbers_come_back_from_the_stack_however_far(spread: float) -> None:
    generator = np.random.default_rng(0)
    log_std = generator.normal(0, 2, (7, 3, 2))
    steps = np.round(generator.normal(0, spread, (7, 3, 2))).astype(np.int64)
    for coder in (None, Words()):
        stack = Stack(coder)
        symbols.push(stack, Coded(steps, log_std), 1.0)
        assert np.array_equal(symbols.pop(stack, steps.shape, log_std, 1.0), steps)
        assert stack.bits() == 0


def test_both_coders_write_the_same() -> None:
    steps = np.arange(-300, 300)[:, None]
    stacks = Stack(), Stack(Words())
    for stack in stacks:
        symbols.push(stack, Coded(steps, np.full((600, 1), 2.0)), 1.0)
    assert np.array_equal(stacks[0].coder.words(), stacks[1].coder.words())


def refusals() -> dict[str, tuple[Any, ...]]:
    images, _ = digits(2)
    return {
        "step is 0": (images, 0),
        "step is nan": (images, float("nan")),
        "whole numbers, N at least 1": (images[0], 0.1),
        "values from": (torch.full((1, 1, 8, 8), 17, dtype=torch.uint8), 0.1),
        "not conditional": (images, 0.1, torch.tensor([0, 1])),
    }


@pytest.mark.parametrize("sentence", refusals())
def test_what_cannot_be_coded_is_refused(model: Density, sentence: str) -> None:
    with pytest.raises(GlowkitError, match=sentence):
        compress(model, *refusals()[sentence])


@pytest.mark.parametrize("name", ["NICE", "RealNVP"])
def test_models_without_learned_priors_are_refused(name: str) -> None:
    with pytest.raises(GlowkitError, match="needs a Split with a learned prior"):
        compress(trained(CONFIGS[name], steps=0), digits(2)[0], 0.1)


def test_an_overflow_is_a_sentence(model: Density) -> None:
    exploding = trained(CONFIGS["affine"])
    with torch.no_grad():
        exploding.density.density.density.prior.net.bias[1::2] += 40  # type: ignore[union-attr]
    with pytest.raises(GlowkitError, match=r"overflows|millions"):
        compress(exploding, digits(2)[0], 1e-9)


def test_every_flipped_byte_is_seen(model: Density) -> None:
    images, _ = digits(3)
    data = compress(model, images, 0.3, search=False)
    for place in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(GlowkitError):
            decompress(model, bytes(damaged))
    for end in (0, 3, 20, len(data) - 1):
        with pytest.raises(GlowkitError, match=r"damaged|no file"):
            decompress(model, data[:end])
    with pytest.raises(GlowkitError, match="another model"):
        decompress(trained(CONFIGS["affine"], seed=1), data)
    with pytest.raises(GlowkitError, match="are bytes"):
        decompress(model, "text")  # type: ignore[arg-type]


def untrained_at(model: Density, images: Tensor, step: float) -> float:
    return psnr(images, compressed(model, images, step, search=False).images, 17)


def test_finer_steps_are_better(model: Density) -> None:
    images, _ = digits(40)
    errors = [untrained_at(model, images, step) for step in (1.0, 0.3, 0.1)]
    assert errors == sorted(errors)


def test_ssim_is_that_of_its_formula() -> None:
    generator = np.random.default_rng(0)
    x = torch.from_numpy(generator.integers(0, 256, (2, 1, 30, 24)))
    y = (x + torch.from_numpy(generator.integers(-20, 21, x.shape))).clamp(0, 255)
    assert ssim(x, x, 256) == 1
    assert 0 < ssim(x, y, 256) < 1
    assert ssim(x[..., :10], y[..., :10], 256) is None
    grey = torch.full((1, 1, 24, 24), 100)
    darker = torch.full((1, 1, 24, 24), 60)  # means alone differ: (2ab + c) / (a² + b² + c)
    c = (0.01 * 255) ** 2
    expected = (2 * 100 * 60 + c) / (100**2 + 60**2 + c)
    assert ssim(grey, darker, 256) == pytest.approx(expected, rel=1e-6)
