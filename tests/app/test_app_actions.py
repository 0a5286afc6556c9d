"""What the page does with a model, and what it answers, without any page."""

import base64
import html
import io
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from glowkit import GlowkitError
from glowkit.app.answers import (
    IN_TURN,
    Chosen,
    between,
    blended,
    draw,
    edit,
    edited,
    likelihood,
    pick,
    picked,
    rebuild,
    sampled,
    shown,
    uploaded,
)
from glowkit.app.exhibit import Exhibit, figures, plain, plot, samples
from glowkit.app.serving import serving
from glowkit.pictures.sheet import HATCH_INK, to_pil
from glowkit.tasks import edit as glowkit_edit


def pictures(page: str) -> list[Image.Image]:
    encoded = re.findall(r'<img alt="[^"]*" src="data:image/png;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in encoded]


def test_a_seed_repeats_samples(exhibit: Exhibit) -> None:
    first, again, other = (draw(exhibit, 4, 0.8, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_at_temperature_0_all_samples_of_a_class_are_one(exhibit: Exhibit) -> None:
    images, _ = draw(exhibit, 4, 0.0, 0, 1 if exhibit.class_names else None)
    assert torch.equal(images, images[:1].expand_as(images))


def test_images_come_back(exhibit: Exhibit) -> None:
    for row in range(3):
        assert torch.equal(rebuild(exhibit, pick(exhibit, row))[0], exhibit.images[row : row + 1])


def test_the_way_between_two_images_ends_at_them(exhibit: Exhibit) -> None:
    a, b = pick(exhibit, 0), pick(exhibit, 1)
    assert torch.equal(between(exhibit, a, b, 0.0)[0], a.image)
    assert torch.equal(between(exhibit, a, b, 1.0)[0], b.image)
    middle = between(exhibit, a, b, 0.5)[0]
    assert not torch.equal(middle, a.image)
    assert not torch.equal(middle, b.image)


def test_an_edit_by_nothing_is_the_image(exhibit: Exhibit) -> None:
    attributes, chosen = exhibit.attributes, pick(exhibit, 0)
    assert attributes
    assert torch.equal(edit(exhibit, chosen, attributes, {"left": 0.0})[0], chosen.image)
    amounts = {"left": 0.5, "right": -1.0}
    expected = glowkit_edit(exhibit.model, chosen.image, attributes, amounts, chosen.context)
    assert torch.equal(edit(exhibit, chosen, attributes, amounts)[0], expected)
    before, after = pictures(edited(exhibit, chosen, attributes, [0.5, -1.0]))
    assert before.tobytes() == to_pil(chosen.image[0], exhibit.levels).tobytes()
    assert after.tobytes() == to_pil(expected[0], exhibit.levels).tobytes()


def test_an_image_always_has_the_same_likelihood(exhibit: Exhibit) -> None:
    assert likelihood(exhibit, pick(exhibit, 0)) == likelihood(exhibit, pick(exhibit, 0))


def test_samples_as_html(exhibit: Exhibit) -> None:
    drawn = pictures(sampled(exhibit, 5, 0.7, 3, IN_TURN))
    expected, _ = draw(exhibit, 5, 0.7, 3)
    for picture, image in zip(drawn, expected, strict=True):
        assert picture.tobytes() == to_pil(image, exhibit.levels).tobytes()


def test_an_image_as_html(exhibit: Exhibit) -> None:
    page = shown(exhibit, pick(exhibit, 0))
    image, again, _ = pictures(page)
    assert np.array_equal(image, again)
    assert "largest pixel error 0 of" in page
    less = re.search(r"(\d+) of 20 images of noise are less likely", page)
    assert less
    assert 0 <= int(less[1]) <= 20


def test_an_exhibit_without_data_has_no_histogram(digits: Exhibit) -> None:
    bare = Exhibit(digits.model, "", (), digits.images, None, "samples")
    assert len(pictures(shown(bare, pick(bare, 0)))) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, 1e9, "a", None, True, [1], {}])
@pytest.mark.parametrize("place", range(3))
def test_a_bad_value_is_a_sentence(digits: Exhibit, place: int, value: object) -> None:
    values: list[object] = [4, 0.7, 0]
    values[place] = value
    if place == 2 and value == 1e9:
        value = values[place] = 2**40
    with pytest.raises(GlowkitError, match="must be a number from"):
        sampled(digits, *values, IN_TURN)
    if place == 1:
        with pytest.raises(GlowkitError, match="must be a number from"):
            blended(digits, pick(digits, 0), pick(digits, 1), value)


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "[a](javascript:alert(1))",
    "![a](http://evil.example/x.png)",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    "&lt;b&gt; & `code` *em* __strong__ ~~x~~ $x$",
    "http://evil.example a@evil.example",
    "a\n# heading\n\n<b>",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_and_nothing_else(digits: Exhibit, name: str) -> None:
    said = plain(name)
    assert html.unescape(said) == name
    assert not set(said) & set("<>\"'`*_[]()\n:/@")
    hostile = replace(digits, measured=f"5 images of {name}", class_names=(name, "b"))
    for page in (
        shown(hostile, pick(digits, 0)),
        figures([(name, digits.images[0], False)], 17),
        plot(b"", name),
        samples(digits.images[:2], 17, name, torch.zeros(2, dtype=torch.bool)),
    ):
        assert name not in page
        tags = re.findall(r"<[^>]*>", page)
        assert not any("onerror" in tag.replace(said, "") for tag in tags)
        assert {tag.split()[0].strip("</>") for tag in tags} <= {
            "a", "div", "figcaption", "figure", "img", "p",
        }  # fmt: skip


@pytest.mark.parametrize("row", [-1, 20, None, "0", [1], 1.5])
def test_an_image_that_is_not_there_is_a_sentence(digits: Exhibit, row: object) -> None:
    with pytest.raises(GlowkitError, match="no such image"):
        picked(digits, row)


def test_a_seed_may_be_typed(digits: Exhibit) -> None:
    assert sampled(digits, 2, 0.7, " 7 ", IN_TURN) == sampled(digits, 2, 0.7, 7, IN_TURN)
    for typed in ("", "seven", "7.5", "-7", "\u0667", "9" * 400):
        with pytest.raises(GlowkitError, match="seed must be a number from 0 to 4294967295"):
            sampled(digits, 2, 0.7, typed, IN_TURN)


@pytest.mark.parametrize("label", ["three", "", None, 7, ["zero"]])
def test_a_class_that_is_not_there_is_a_sentence(exhibit: Exhibit, label: str) -> None:
    with pytest.raises(GlowkitError, match="no class"):
        sampled(exhibit, 4, 0.7, 0, label)


def test_no_file_is_a_sentence(digits: Exhibit) -> None:
    with pytest.raises(GlowkitError, match="choose one to upload"):
        uploaded(digits, None, "")


def test_without_gradio_there_is_a_sentence(
    digits: Exhibit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(GlowkitError, match="pip install"), serving(digits, "127.0.0.1", None):
        pass


def test_what_overflows_is_said_and_hatched(exhibit: Exhibit) -> None:
    attributes, chosen = exhibit.attributes, pick(exhibit, 0)
    assert attributes
    far = Chosen(chosen.image, torch.full_like(chosen.latents, math.nan), chosen.context)
    for number, answer in enumerate(
        (
            shown(exhibit, far),
            blended(exhibit, far, far, 0.5),
            edited(exhibit, far, attributes, [0.5, 0.0]),
        )
    ):
        assert "1 of 1 image(s) could not be computed (overflow)" in answer, number
        drawn = pictures(answer)[1].convert("RGB")
        assert HATCH_INK in {colour for _, colour in drawn.getcolors(2**20)}
    assert "largest pixel error not known" in shown(exhibit, far)
    assert "could not be computed" not in shown(exhibit, chosen)


def test_samples_that_overflow_are_said_and_hatched(
    exhibit: Exhibit, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, draw_noises = exhibit.model, exhibit.model.draw_noises

    def damaged(*arguments: object) -> list[torch.Tensor]:
        noises = draw_noises(*arguments)
        noises[0][2] = math.nan
        return noises

    monkeypatch.setattr(model, "draw_noises", damaged)
    page = sampled(exhibit, 5, 0.7, 3, IN_TURN)
    assert "1 of 5 image(s) could not be computed (overflow)" in page
    marked = [
        HATCH_INK in {c for _, c in p.convert("RGB").getcolors(2**20)} for p in pictures(page)
    ]
    assert marked == [False, False, True, False, False]


def test_an_image_without_a_likelihood_is_said(
    digits: Exhibit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glowkit.app.answers.likelihood", lambda *_: math.nan)
    page = shown(digits, pick(digits, 0))
    assert "no finite log p" in page
    assert "less likely" not in page
