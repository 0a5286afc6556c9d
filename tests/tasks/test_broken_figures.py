"""Figures do not hide what is not a number."""

import math
import warnings

import pytest
import torch
from torch import Tensor

import glowkit
from glowkit import GlowkitError, GlowkitWarning
from glowkit.core import Density
from glowkit.pictures.plots import histogram, plane_image
from glowkit.tasks import (
    Attributes,
    classify,
    edit,
    evaluate,
    largest_pixel_error,
    mean_directions,
    reconstruct,
    separation,
    share_between_modes,
)
from glowkit.tasks.attributes import edit_latents
from glowkit.tasks.points import evaluate_points


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 17, (6, 1, 4, 4), generator=generator, dtype=torch.uint8)


def model_of(images: Tensor, classes: int = 0) -> Density:
    torch.manual_seed(0)
    config = glowkit.GlowConfig(
        (1, 4, 4), levels=1, steps=1, width=4, pixel_levels=17, classes=classes
    )
    model = glowkit.build(config)
    glowkit.initialize(model, images, torch.arange(len(images)) % classes if classes else None)
    return model


def breaking(model: Density, monkeypatch: pytest.MonkeyPatch, row: int) -> Density:
    """The model, in whose decoding one row of a batch is not finite."""
    decode = model.density.decode

    def broken(*arguments: object) -> tuple[Tensor, Tensor]:
        v, log_p = decode(*arguments)
        v = v.clone()
        v[row, 0, 0, 0] = math.inf
        return v, log_p

    monkeypatch.setattr(model.density, "decode", broken)
    return model


def test_a_part_of_the_images_is_decoded_again(images: Tensor) -> None:
    model, batches = model_of(images), [(images[:4], None), (images[4:], None)]
    whole = evaluate(model, batches)
    for given, taken in (([(images[:3], None)], 3), ([(images[:5], None)] * 2, 6)):
        part = evaluate(model, batches, round_trips=given)
        assert (part.images, part.round_trip_images) == (6, taken)
        assert part.largest_pixel_error == 0
    assert whole.round_trip_images == whole.images == 6


def test_an_evaluation_counts_what_does_not_come_back(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for batches in ([(images, None)], [(images[:3], None), (images[3:], None)]):
        model = breaking(model_of(images), monkeypatch, 1)
        found = evaluate(model, batches)
        assert found.broken_images == len(batches)
        assert math.isnan(found.largest_pixel_error)
        assert math.isfinite(found.bits_per_dim)
        assert found.not_finite_images == 0


def test_a_likelihood_that_is_not_finite_is_counted_and_not_left_out(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(images)
    log_prob = model.log_prob

    def some(*arguments: object) -> Tensor:
        values = log_prob(*arguments).clone()
        values[:2] = torch.tensor([math.nan, -math.inf])
        return values

    monkeypatch.setattr(model, "log_prob", some)
    found = evaluate(model, [(images, None)])
    assert found.not_finite_images == 2
    assert not math.isfinite(found.bits_per_dim)
    assert found.largest_pixel_error == 0
    assert isinstance(found.largest_pixel_error, int)


def test_an_image_with_a_class_of_nan_is_told_wrong(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although argmax says that NaN is the largest."""
    model = model_of(images, classes=3)
    log_prob = model.log_prob

    def nan_under_1(images: Tensor, labels: Tensor, generator: object) -> Tensor:
        values = log_prob(images, labels, generator)
        return torch.where(labels == 1, torch.nan, values)

    monkeypatch.setattr(model, "log_prob", nan_under_1)
    found = classify(model, [(images, torch.ones(6, dtype=torch.int64))])
    assert found.accuracy == 0
    assert math.isnan(found.marginal_bits_per_dim)


def test_reconstructions_and_edits_warn(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    attributes = Attributes(
        ("left",), torch.ones(1, 16), (3,), (3,), (0.5,), torch.zeros(101), "mean"
    )
    model = model_of(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(reconstruct(model, images), images)
        edit(model, images, attributes, {"left": 0.1})
    breaking(model, monkeypatch, 2)
    with pytest.warns(GlowkitWarning, match="^1 of 6 images could not be computed.*float64"):
        again = reconstruct(model, images)
    with pytest.warns(GlowkitWarning, match="^1 of 6 images could not be computed.*smaller"):
        edit(model, images, attributes, {"left": 0.1})
    _, broken = edit_latents(model, torch.zeros(6, 16), attributes, {"left": 0.1})
    assert broken.tolist() == [row == 2 for row in range(6)]
    assert math.isnan(largest_pixel_error(images, again, broken))
    assert largest_pixel_error(images[:2], again[:2], broken[:2]) == 0


def test_no_direction_is_found_from_latents_of_nan() -> None:
    latents = torch.randn(8, 3)
    values = torch.tensor([[1], [-1]] * 4)
    latents[5, 1] = math.nan
    with pytest.raises(GlowkitError, match=r"1 of 8 images .* not finite"):
        mean_directions([(latents, values)])
    with pytest.raises(GlowkitError, match=r"1 of 8 images .* not finite"):
        separation(torch.ones(1, 3), [(latents, values)])


def test_no_percentile_is_made_of_nan() -> None:
    attributes = Attributes(
        ("left",), torch.ones(1, 2), (3,), (3,), (0.5,), torch.linspace(0, 1, 101), "mean"
    )
    assert math.isnan(attributes.percentile(math.nan))
    assert attributes.percentile(math.inf) == 100
    with pytest.raises(GlowkitError, match=r"2 of 4 held-out images .* not finite"):
        attributes.judged((0.5,), torch.tensor([1.0, math.nan, math.inf, 2.0]))


def test_points_that_are_not_finite_are_near_no_mode() -> None:
    points = torch.tensor([[0.0, 0.0], [math.nan, 0.0], [math.inf, 0.0], [9.0, 9.0]])
    share, _ = share_between_modes(points, torch.zeros(1, 2), 1.0)
    assert share == 0.75


def test_an_evaluation_of_points_counts_both(monkeypatch: pytest.MonkeyPatch) -> None:
    model = glowkit.build(glowkit.PointsConfig(2, steps=1, width=4))
    points = torch.randn(10, 2)
    glowkit.initialize(model, points)
    decode, log_prob = model.decode, model.log_prob

    def broken(*arguments: object) -> tuple[Tensor, Tensor]:
        x, log_p = decode(*arguments)
        return torch.cat([x[:1] * math.nan, x[1:]]), log_p

    def unknown(*arguments: object) -> Tensor:
        return torch.cat([log_prob(*arguments)[:8], torch.full((2,), -math.inf)])

    monkeypatch.setattr(model, "decode", broken)
    monkeypatch.setattr(model, "log_prob", unknown)
    with torch.no_grad():
        found = evaluate_points(
            model, [(points, None)], 1.0, lambda x: torch.zeros(len(x)).double()
        )
    assert (found.broken_points, found.not_finite_points) == (1, 2)
    assert math.isnan(found.largest_error)
    assert not math.isfinite(found.nll_nats)


def test_pictures_are_drawn_of_what_there_is() -> None:
    nothing = torch.full((4,), math.nan)
    assert histogram(nothing, {"mean": math.nan})[1:4] == b"PNG"
    assert histogram(torch.tensor([2.0, math.inf, 3.0]), {"this": math.inf})[1:4] == b"PNG"
    holes = torch.tensor([[0.0, 0.0], [math.nan, 1.0]])

    def density(points: Tensor) -> Tensor:
        log_p = -points.square().sum(1)
        log_p[points[:, 0] > 0] = math.nan
        log_p[points[:, 1] > 2] = math.inf
        return log_p

    panels = [("samples", holes), ("p", density), ("none", lambda x: x[:, 0] * math.nan)]
    assert plane_image(panels, 3.0).size == (780, 260)


def test_a_density_is_seen_and_where_it_is_not_finite_hatched() -> None:
    def half(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 0, -x.square().sum(1), torch.nan)

    image = plane_image([("p", half)], 3.0)
    bright, dark = image.getpixel((150, 135)), image.getpixel((235, 40))
    assert isinstance(bright, tuple)
    assert isinstance(dark, tuple)
    assert bright[0] > 200
    assert max(dark) < 40
    hatched = {image.getpixel((x, 40)) for x in range(25, 100)}
    assert (252, 240, 238) in hatched
    assert len(hatched) > 2
