"""Every model of every kind gives every image back, whatever the image, and as short as it says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import glowkit
from coding.models import CONFIGS, context_of, digits, glow, trained
from glowkit.core import Density, GlowkitError
from glowkit.data import open_source
from glowkit.tasks.coding import Codec, compress, decompress
from glowkit.tasks.coding.container import compressed
from glowkit.tasks.coding.encoder import Encoder
from glowkit.tasks.coding.stack import Constriction, Stack, Unfit, Words

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models take over as soon as they can: these have hardly been trained, and are no shorter."""
    monkeypatch.setattr(Encoder, "model_is_shorter", lambda encoder: True)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.usefixtures("soon")
def test_images_and_context_come_back(name: str) -> None:
    model = trained(CONFIGS[name])
    images, labels = digits(24)
    context = context_of(CONFIGS[name], labels)
    made = compressed(Codec.compile(model), model, images, context)
    again, given = decompress(model, made.data)
    assert torch.equal(again, images)
    assert again.dtype == torch.uint8
    assert made.plain < 20
    assert made.fallbacks == 0
    if context is None:
        assert given is None
    else:
        assert given is not None
        assert given.dtype == context.dtype
        assert float((given - context).abs().max()) <= 2.0**-15


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.usefixtures("soon")
def test_after_more_training_with_another_seed(name: str) -> None:
    model = trained(CONFIGS[name], seed=1, steps=60)
    images, labels = digits(120)
    context = context_of(CONFIGS[name], labels)
    data = compress(model, images, context)
    assert torch.equal(decompress(model, data)[0], images)


def length(model: Density, images: Tensor, bits: int | None = None) -> tuple[float, float]:
    """Bits/dim of images on a stack that has bits already, and the most that it lent, /dim."""
    codec = Codec.compile(model, bits)
    words = np.random.default_rng(0).integers(1, 2**32, 100_000, dtype=np.uint32)
    stack = Stack(Constriction(words), careful=True)
    first = before = stack.bits()
    lent = 0.0
    for batch in images.numpy().astype(np.int64).reshape(-1, 50, *images.shape[1:]):
        stack.lowest = before = stack.bits()
        codec.encode(stack, batch)
        lent = max(lent, (before - stack.lowest) / batch.size)
    return (stack.bits() - first) / images.numel(), lent


def bound(model: Density, images: Tensor, draws: int = 8) -> float:
    with torch.no_grad():
        noise = torch.Generator().manual_seed(0)
        each = [glowkit.bits_per_dim(model, images, None, noise).mean() for _ in range(draws)]
    return float(torch.stack(each).mean())


def shipped_digits() -> tuple[Density, Tensor]:
    images = open_source("digits").splits["test"].__getitems__(list(range(300)))[0]
    return glowkit.load(EXAMPLES / "digits" / "model"), torch.as_tensor(np.asarray(images))


def test_the_length_is_the_models_bound() -> None:
    pytest.importorskip("constriction")
    model, images = shipped_digits()
    coded, lent = length(model, images)
    assert coded == pytest.approx(bound(model, images), abs=0.01)
    assert lent <= 6 + 6


@pytest.mark.slow
def test_the_length_of_curves_is_the_bound_too() -> None:
    pytest.importorskip("constriction")
    images = digits(300)[0]
    for coupling in ("mixture", "spline"):
        model = trained(glow(coupling=coupling), steps=100, count=300)
        assert length(model, images)[0] == pytest.approx(bound(model, images), abs=0.015)


def test_a_whole_file_of_300_digits() -> None:
    model, images = shipped_digits()
    sizes = dict[int, int]()
    made = compressed(Codec.compile(model), model, images, None, False, None, sizes.__setitem__)
    data = made.data
    assert sizes[300] == len(data)
    assert (
        len(compress(model, images[:50], verify=False))
        <= sizes[min(done for done in sizes if done >= 50)]
    )
    assert 8 * len(data) / images.numel() <= 2.31
    assert torch.equal(decompress(model, data)[0], images)


@pytest.mark.slow
def test_the_shipped_emoji_model() -> None:
    """Of its own samples, since its data need a font that is not everywhere."""
    model = glowkit.load(EXAMPLES / "emoji" / "model")
    images = model.sample(20, temperature=0.8, generator=torch.Generator().manual_seed(0))
    made = compressed(Codec.compile(model), model, images)
    assert torch.equal(decompress(model, made.data)[0], images)
    assert made.fallbacks == 0


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.usefixtures("soon")
def test_noise_comes_back(seed: int) -> None:
    """Images that the model has never seen the like of, by escapes or by fallback."""
    for config in (glow(), glow(coupling="mixture"), CONFIGS["NICE"]):
        model = trained(config)
        noise = torch.Generator().manual_seed(seed)
        images = torch.randint(17, (40, 1, 8, 8), generator=noise, dtype=torch.uint8)
        images[::3] = 16 * torch.randint(2, (14, 1, 8, 8), generator=noise, dtype=torch.uint8)
        images[1] = 0
        assert torch.equal(decompress(model, compress(model, images))[0], images)


def test_a_model_that_is_no_shorter_codes_nothing() -> None:
    model, (images, _) = trained(glow()), digits(40)
    made = compressed(Codec.compile(model), model, images)
    assert (made.plain, made.fallbacks) == (40, 0)
    assert torch.equal(decompress(model, made.data)[0], images)


def test_what_the_model_cannot_code_is_coded_without_it() -> None:
    model = trained(glow())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("last.weight"):
                parameter.add_(1e9)
    images = digits(12)[0]
    made = compressed(Codec.compile(model), model, images)
    assert made.plain == 12
    assert made.fallbacks
    assert torch.equal(decompress(model, made.data)[0], images)


def test_an_image_amid_others_that_the_model_cannot_code(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = shipped_digits()
    encode = Codec.encode

    def all_but_one(codec: Codec, stack: Stack, given: Any, context: Any = None) -> None:
        if any(np.array_equal(image, images[20]) for image in given):
            raise Unfit
        encode(codec, stack, given, context)

    monkeypatch.setattr(Codec, "encode", all_but_one)
    made = compressed(Codec.compile(model), model, images[:30], verify=False)
    assert made.fallbacks == 1
    assert made.plain < 10
    assert torch.equal(decompress(model, made.data)[0], images[:30])


def test_few_images_take_few_bits() -> None:
    """Less than the model's start would lend, and than JPEG XL's sheets: 3.63 for ten."""
    model, images = shipped_digits()
    for count, most in ((1, 5.3), (3, 3.5), (10, 2.6)):
        assert 8 * len(compress(model, images[:count], verify=False)) < most * 64 * count


@pytest.mark.usefixtures("soon")
def test_both_coders_write_and_read_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("constriction")
    model, images = trained(glow(coupling="mixture")), digits(24)[0]
    fast = compress(model, images)
    monkeypatch.setattr("glowkit.tasks.coding.stack.fast_coder", lambda: False)
    assert isinstance(Stack().coder, Words)
    assert compress(model, images) == fast
    assert torch.equal(decompress(model, fast)[0], images)


@pytest.mark.usefixtures("soon")
def test_levels_beyond_a_byte_and_odd_shapes() -> None:
    config = glowkit.GlowConfig((3, 4, 2), levels=1, steps=1, width=4, pixel_levels=300)
    torch.manual_seed(0)
    images = torch.randint(300, (40, 3, 4, 2), dtype=torch.int32)
    model = glowkit.build(config)
    glowkit.initialize(model, images)
    again, _ = decompress(model, compress(model, images))
    assert again.dtype == torch.int32
    assert torch.equal(again, images)


@pytest.mark.usefixtures("soon")
def test_a_model_in_float64_codes_alike() -> None:
    model, images = trained(glow()), digits(20)[0]
    data = compress(model, images)
    assert compress(model.double(), images) == data


class Odd(glowkit.bijections.Shift):
    """A class that the tables do not know, though it extends one that they do."""


def test_a_layer_without_an_exact_form_is_refused_by_name() -> None:
    model = glowkit.Dequantize(
        glowkit.densities.Uniform((1, 2, 2)),
        glowkit.Then(Odd(-0.5), glowkit.densities.StandardNormal((1, 2, 2))),
        levels=4,
    )
    with pytest.raises(GlowkitError, match=r"^Odd has no exact form"):
        compress(model, torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
    points = glowkit.densities.StandardNormal((2,))
    with pytest.raises(GlowkitError, match="only a model of images"):
        compress(points, torch.zeros(1, 2))


@pytest.mark.parametrize("bits", [1, 17, 6.0, True])
def test_bits_out_of_range(bits: int) -> None:
    with pytest.raises(GlowkitError, match="2 to 16 bits"):
        compress(trained(glow()), digits(1)[0], bits=bits)


def test_images_and_contexts_that_do_not_fit() -> None:
    model, (images, labels) = trained(glow()), digits(4)
    for wrong, sentence in (
        (images[:, :, :4], "have shape"),
        (images + 20, "values from"),
        (images[:0], "the batch is empty"),
        (images.float(), "must be integers"),
    ):
        with pytest.raises(GlowkitError, match=sentence):
            compress(model, wrong)
    with pytest.raises(GlowkitError, match="not conditional"):
        compress(model, images, labels)
    conditional = trained(glow(classes=10))
    with pytest.raises(GlowkitError, match="class label"):
        compress(conditional, images)
    with pytest.raises(GlowkitError, match="does not exist"):
        compress(conditional, images, labels + 10)
    vectors = trained(CONFIGS["vectors"])
    with pytest.raises(GlowkitError, match="scale them"):
        compress(vectors, images, torch.full((4, 3), 1e6))


def test_a_model_that_has_come_apart_is_refused() -> None:
    model = trained(glow())
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if name.endswith("actnorm.bias")).fill_(1e15)
    with pytest.raises(GlowkitError, match="shifts by millions"):
        compress(model, digits(1)[0])


def test_an_uninitialised_model_is_refused() -> None:
    with pytest.raises(GlowkitError, match="has not seen data"):
        compress(glowkit.build(glow()), digits(1)[0])
