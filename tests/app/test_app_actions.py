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

from glowkit import AutoregressiveConfig, GlowkitError, build
from glowkit.app.answers import (
    IN_TURN,
    blended,
    drawing_of,
    edited,
    from_canvas,
    looped,
    picked,
    sampled,
    shown,
    uploaded,
    wanted,
)
from glowkit.app.chart import chart
from glowkit.app.chosen import Chosen, between, draw, edit, likelihood, pick, rebuild
from glowkit.app.exhibit import Exhibit, Figure, figures, pad, plain, samples
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


def test_the_corners_of_the_square_are_the_images(exhibit: Exhibit) -> None:
    corners = [pick(exhibit, row) for row in range(4)]
    for number, corner in enumerate(corners):
        x, y = number % 2, number // 2
        assert torch.equal(between(exhibit, corners, x, y)[0], corner.image)
    middle = between(exhibit, corners, 0.5, 0.5)[0]
    assert not any(torch.equal(middle, corner.image) for corner in corners)


def test_an_edit_by_nothing_is_the_image(exhibit: Exhibit) -> None:
    attributes, chosen = exhibit.attributes, pick(exhibit, 0)
    assert attributes
    assert torch.equal(edit(exhibit, chosen, attributes, {"left": 0.0})[0], chosen.image)
    amounts = {"left": 0.5, "right": -1.0}
    expected = glowkit_edit(exhibit.model, chosen.image, attributes, amounts, chosen.context)
    assert torch.equal(edit(exhibit, chosen, attributes, amounts)[0], expected)
    after, before = pictures(edited(exhibit, chosen, attributes, amounts))
    assert before.tobytes() == to_pil(chosen.image[0], exhibit.levels).tobytes()
    assert after.tobytes() == to_pil(expected[0], exhibit.levels).tobytes()


def test_an_image_always_has_the_same_likelihood(exhibit: Exhibit) -> None:
    assert likelihood(exhibit, pick(exhibit, 0)) == likelihood(exhibit, pick(exhibit, 0))


def test_samples_as_html(exhibit: Exhibit) -> None:
    asked = wanted(exhibit, 5, 0.9, 0.5, 3, 3, IN_TURN)
    assert asked.heats == (0.5, 0.7, 0.9)
    drawn = pictures(sampled(exhibit, asked))
    expected = torch.cat([draw(exhibit, 5, heat, 3)[0] for heat in asked.heats])
    for picture, image in zip(drawn, expected, strict=True):
        assert picture.tobytes() == to_pil(image, exhibit.levels).tobytes()


def test_an_image_as_html(exhibit: Exhibit) -> None:
    page = shown(exhibit, pick(exhibit, 0))
    image, again = pictures(page)
    assert np.array_equal(image, again)
    assert "largest pixel error 0 of" in page
    bits = likelihood(exhibit, pick(exhibit, 0))
    assert f"{bits:.3f} bits/dim" in html.unescape(page)
    assert page.count("<svg") == 1


def test_an_image_is_ranked_among_those_of_the_data(digits: Exhibit) -> None:
    without = replace(digits, attributes=None)
    chosen = pick(without, 0)
    less = int((digits.bits < likelihood(digits, chosen)).sum())
    assert f"{100 * less / 20:.0f} % of 20 images of noise have less" in html.unescape(
        shown(without, chosen)
    )


def test_a_model_of_noisy_images_has_nats() -> None:
    config = AutoregressiveConfig(
        (1, 4, 4),
        layers=1,
        width=8,
        heads=1,
        inner=0,
        head="affine",
        pixel_levels=17,
        dequantization="normal",
    )
    images = torch.randint(0, 17, (4, 1, 4, 4), dtype=torch.uint8)
    exhibit = Exhibit(build(config), "", (), images, None, "noise", torch.arange(4.0), "4 images")
    page = html.unescape(shown(exhibit, pick(exhibit, 0)))
    nats = likelihood(exhibit, pick(exhibit, 0))
    assert f"≈ {nats:.3f} nats of the image with noise of 0.05, from one draw" in page
    assert "Histogram of the nats of 4 images" in page
    assert "bits/dim" not in page
    assert sampled(exhibit, wanted(exhibit, 2, 0.5, 0.5, 1, 0, IN_TURN)).count("<figure>") == 2


def test_an_exhibit_without_data_has_no_histogram(digits: Exhibit) -> None:
    bare = Exhibit(digits.model, "", (), digits.images, None, "samples")
    page = shown(bare, pick(bare, 0))
    assert "<svg" not in page
    assert "have less" not in page


def test_what_is_drawn_is_what_the_model_gets(exhibit: Exhibit) -> None:
    under, other = pick(exhibit, 0), pick(exhibit, 1)
    assert from_canvas(exhibit, under, drawing_of(exhibit, under)) is under
    drawn = from_canvas(exhibit, under, drawing_of(exhibit, other))
    assert torch.equal(drawn.image, other.image)
    assert drawn.name == "drawing.png"
    assert (drawn.label is None) == (not exhibit.class_names)
    for damaged in (7, "", "data:image/png;base64,!", "data:text/html;base64,PGI+"):
        with pytest.raises(GlowkitError, match=r"the canvas sent|damaged"):
            from_canvas(exhibit, under, damaged)
    with pytest.raises(GlowkitError, match="cannot be read as an image"):
        from_canvas(exhibit, under, "data:image/png;base64,AAAA")


def test_the_way_around_is_an_animation(exhibit: Exhibit) -> None:
    page = looped(exhibit, [pick(exhibit, row) for row in range(4)])
    encoded = re.search(r'src="data:image/gif;base64,([^"]+)"', page)
    assert encoded
    assert f'href="data:image/gif;base64,{encoded[1]}" download="between.gif"' in page
    with Image.open(io.BytesIO(base64.b64decode(encoded[1]))) as gif:
        assert gif.n_frames > 1


def test_marks_beyond_the_bars_stand_at_their_edge() -> None:
    bits = torch.linspace(1, 2, 100)
    drawn = chart(bits, {"before": 0.0, "after": 9.0}, "")
    assert '<path d="M14.0 3V' in drawn
    assert "M466.0 17V" in drawn
    assert "2 without" in chart(torch.cat([bits, torch.tensor([math.nan] * 2)]), {}, "")
    assert "mark" not in chart(bits, {"before": math.nan}, "")


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, 1e9, "a", None, True, [1], {}])
@pytest.mark.parametrize("place", range(5))
def test_a_bad_value_is_a_sentence(digits: Exhibit, place: int, value: object) -> None:
    values: list[object] = [4, 0.7, 1.0, 2, 0]
    values[place] = value
    if place == 4 and value == 1e9:
        value = values[place] = 2**40
    with pytest.raises(GlowkitError, match="must be a number from"):
        wanted(digits, *values, IN_TURN)
    if place == 1:
        for at in ((value, 0.5), (0.5, value)):
            with pytest.raises(GlowkitError, match="must be a number from"):
                blended(digits, [pick(digits, 0)] * 4, *at)


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
        figures([Figure(name, digits.images[0], name)], 17),
        pad([(name, digits.images[0])] * 4, digits.images[1], False, 0.5, 0.5, 17),
        samples([(name, digits.images[:2], torch.zeros(2, dtype=torch.bool))], 17, name),
    ):
        assert name not in page
        tags = re.findall(r"<[^>]*>", page)
        assert not any("onerror" in re.sub(r'"[^"]*"', "", tag) for tag in tags)
        assert {tag.split()[0].strip("</>") for tag in tags} <= {
            "a", "div", "figcaption", "figure", "g", "img", "p", "path", "rect", "span", "svg",
            "text",
        }  # fmt: skip


@pytest.mark.parametrize("row", [-1, 20, None, "0", [1], 1.5])
def test_an_image_that_is_not_there_is_a_sentence(digits: Exhibit, row: object) -> None:
    with pytest.raises(GlowkitError, match="no such image"):
        picked(digits, row)


def test_a_seed_may_be_typed(digits: Exhibit) -> None:
    typed, given = (wanted(digits, 2, 0.5, 0.7, 1, seed, IN_TURN) for seed in (" 7 ", 7))
    assert typed == given
    assert typed.heats == (0.7,)
    for bad in ("", "seven", "7.5", "-7", "\u0667", "9" * 400):
        with pytest.raises(GlowkitError, match="seed must be a number from 0 to 4294967295"):
            wanted(digits, 2, 0.5, 0.7, 1, bad, IN_TURN)


@pytest.mark.parametrize("label", ["three", "", None, 7, ["zero"]])
def test_a_class_that_is_not_there_is_a_sentence(exhibit: Exhibit, label: str) -> None:
    with pytest.raises(GlowkitError, match="no class"):
        wanted(exhibit, 4, 0.5, 0.7, 2, 0, label)


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
    for place, answer in (
        (1, shown(exhibit, far)),
        (0, blended(exhibit, [far] * 4, 0.5, 0.5)),
        (0, edited(exhibit, far, attributes, {"left": 0.5})),
    ):
        assert "1 of 1 image(s) could not be computed (overflow)" in answer, answer
        assert re.findall(r'alt="[^"]*which could not be computed', answer)
        drawn = pictures(answer)[place].convert("RGB")
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
    page = sampled(exhibit, wanted(exhibit, 5, 0.7, 0.7, 1, 3, IN_TURN))
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
    assert "have less" not in page
