"""The search for codes that decode to an image itself, and what it keeps to."""

from typing import Any

import numpy as np
import pytest
import torch

from coding.models import CONFIGS, digits, trained
from glowkit.core import GlowkitError
from glowkit.tasks.coding.functions import Integers
from glowkit.tasks.lossy import decompress
from glowkit.tasks.lossy.coder import LossyCodec
from glowkit.tasks.lossy.container import compressed
from glowkit.tasks.lossy.generations import generations
from glowkit.tasks.lossy.search import LOST, SOON, TRIES, coded_once, own_codes, searched
from glowkit.tasks.lossy.symbols import Coded

STEP = 0.4
"""Of latents; of the model below about five levels, at which most nearest codes change."""


@pytest.fixture(scope="module")
def codec() -> LossyCodec:
    return LossyCodec.compile(trained(CONFIGS["affine"]))


@pytest.fixture(scope="module")
def images() -> Integers:
    return digits(24)[0].numpy().astype(np.int64)


def decoded(codec: LossyCodec, coded: list[Coded], step: float) -> Integers:
    """As a decoder makes them, that knows the whole numbers alone."""
    steps = iter(coded)
    return codec.decoded(len(coded[0].steps), step, lambda shape, log_std: next(steps).steps)


def test_an_image_that_was_decoded_has_its_own_code(codec: LossyCodec, images: Integers) -> None:
    first = coded_once(codec, images, STEP)
    own = own_codes(codec, first.images, STEP)
    nearest = coded_once(codec, first.images, STEP).images
    kept = (nearest == first.images).reshape(len(images), -1).all(1)
    assert own.fixed.sum() > kept.sum()  # of which nearest codes alone change some
    assert own.fixed[kept].all()
    assert np.array_equal(own.images[own.fixed], first.images[own.fixed])
    assert np.array_equal(own.images[~own.fixed], nearest[~own.fixed])
    assert np.array_equal(decoded(codec, own.coded, STEP), own.images)


def test_the_search_costs_little_and_what_it_finds_stays(
    codec: LossyCodec, images: Integers
) -> None:
    def error(others: Integers) -> Any:
        return np.square(images - others).reshape(len(images), -1).mean(1)

    first, found = coded_once(codec, images, STEP), searched(codec, images, STEP)
    assert np.array_equal(decoded(codec, found.coded, STEP), found.images)
    assert (error(found.images) <= 10 ** (LOST / 10) * error(first.images)).all()
    again = searched(codec, found.images, STEP)
    assert again.fixed[found.fixed].all()
    assert np.array_equal(again.images[found.fixed], found.images[found.fixed])
    kept = generations(codec, torch.from_numpy(images[found.fixed]), STEP, 3)
    assert found.fixed.mean() > 0.5
    assert kept.psnr[0] == kept.psnr[2]
    assert kept.same_codes == kept.same_images == [1.0, 1.0]


def test_the_file_of_fixed_points_is_written_again(images: Integers) -> None:
    model = trained(CONFIGS["affine"])
    first = compressed(model, torch.from_numpy(images), 0.6)
    assert first.fixed == len(images)
    assert not torch.equal(first.images.long(), torch.from_numpy(images))
    again, _ = decompress(model, first.data)
    assert compressed(model, again, 0.6).data == first.data


def test_images_that_were_never_decoded_are_given_up_soon(
    codec: LossyCodec, images: Integers, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, code = [0, 0], LossyCodec.code_values

    def counted(self: LossyCodec, values: Integers, *rest: Any) -> Any:
        asked[0], asked[1] = asked[0] + 1, asked[1] + len(values)
        return code(self, values, *rest)

    monkeypatch.setattr(LossyCodec, "code_values", counted)
    noise = np.random.default_rng(0).integers(0, 17, images.shape)
    own = own_codes(codec, noise, 1.0)
    assert not own.fixed.any()
    assert asked[0] <= TRIES
    assert asked[1] < (SOON + 3) * len(noise)


def test_a_search_that_overflows_ends(
    codec: LossyCodec, images: Integers, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, calls = LossyCodec.code_values, [0]

    def once(self: LossyCodec, *arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] > 1:
            raise GlowkitError("the flow overflows")
        return code(self, *arguments)

    nearest = coded_once(codec, images, 1.0)
    monkeypatch.setattr(LossyCodec, "code_values", once)
    own = own_codes(codec, images, 1.0)
    assert np.array_equal(own.images, nearest.images)
    with pytest.raises(GlowkitError, match="overflows"):
        own_codes(codec, images, 1.0)


def test_what_overflows_in_the_search_leaves_its_neighbours_alone(
    codec: LossyCodec, images: Integers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if all values below black overflowed: tries of some of the images, not of all."""
    code, refused = LossyCodec.code_values, [0]

    def bounded(self: LossyCodec, values: Integers, *rest: Any) -> Any:
        if values.min() < 0:
            refused[0] += 1
            raise GlowkitError("the flow overflows")
        return code(self, values, *rest)

    some = images[6:]
    monkeypatch.setattr(LossyCodec, "code_values", bounded)
    found = searched(codec, some, 0.25)
    assert refused[0]
    assert 0 < found.fixed.sum() < len(some)
    assert np.array_equal(decoded(codec, found.coded, 0.25), found.images)
    for row in range(0, len(some), 3):
        alone = searched(codec, some[row : row + 1], 0.25)
        assert np.array_equal(alone.images[0], found.images[row])
        assert alone.fixed[0] == found.fixed[row]
        for one, all_of_them in zip(alone.coded, found.coded, strict=True):
            assert np.array_equal(one.steps[0], all_of_them.steps[row])


def test_an_image_whose_tries_all_overflow_keeps_its_nearest_code(
    codec: LossyCodec, images: Integers, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, nearest = LossyCodec.code_values, coded_once(codec, images[:4], STEP)

    def images_alone(self: LossyCodec, values: Integers, *rest: Any) -> Any:
        if not np.array_equal(values, codec.values(images[:4])):
            raise GlowkitError("the flow overflows")
        return code(self, values, *rest)

    monkeypatch.setattr(LossyCodec, "code_values", images_alone)
    found = searched(codec, images[:4], STEP)
    assert np.array_equal(found.images, nearest.images)
    assert np.array_equal(found.coded[0].steps, nearest.coded[0].steps)


def test_values_nearest_to_others_are_decoded_to_their_images(codec: LossyCodec) -> None:
    pixels = np.arange(17)[:, None].repeat(3, 1)
    far = codec.values(np.array([-40, 8, 60]))
    nearest = codec.nearest(pixels, np.broadcast_to(far, pixels.shape))
    assert np.array_equal(codec.pixels(nearest), pixels)
    assert nearest[0, 0] == far[0]  # below black is black
    assert nearest[16, 2] == far[2]
    assert nearest[8, 1] == far[1]
    level = codec.values(np.array(1)) - codec.values(np.array(0))
    assert nearest[3, 2] == 4 * level - 1
