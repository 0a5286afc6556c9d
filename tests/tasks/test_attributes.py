"""Attributes on latents whose directions are known, and edits of a model that can be computed."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.densities import Dequantize, StandardNormal, Uniform
from glowkit.tasks import (
    Attributes,
    edit,
    load_attributes,
    logistic_directions,
    mean_directions,
    orthogonal,
    save_attributes,
    separation,
)
from glowkit.tasks.directions import STRETCH

LEVELS = 16


def attributes(names: tuple[str, ...], directions: Tensor) -> Attributes:
    many = (5,) * len(names)
    return Attributes(
        names, directions, many, many, (0.75,) * len(names), torch.arange(101.0), "mean"
    )


@pytest.fixture
def model() -> Dequantize:
    """z = (x + ½) / 16, so that 1/16 of a direction is one level of a pixel."""
    return Dequantize(Uniform((1, 2, 2)), StandardNormal((1, 2, 2)), levels=LEVELS)


@pytest.fixture
def known() -> Attributes:
    return attributes(("left", "lower"), torch.tensor([[1, 0, 1, 0], [0, 0, 1, 1]]) / LEVELS)


@pytest.mark.parametrize(
    ("amounts", "change"),
    [
        ({}, [0, 0, 0, 0]),
        ({"left": 0.0}, [0, 0, 0, 0]),
        ({"left": 2.0}, [2, 0, 2, 0]),
        ({"lower": -3.0}, [0, 0, -3, -3]),
        ({"left": 2.0, "lower": 1.0}, [2, 0, 3, 1]),
    ],
)
def test_an_edit_adds_its_directions(
    model: Dequantize, known: Attributes, amounts: dict[str, float], change: list[int]
) -> None:
    images = torch.tensor([[5, 6, 7, 8], [9, 4, 3, 8]]).reshape(2, 1, 2, 2)
    edited = edit(model, images, known, amounts)
    assert (edited.long() - images).flatten(1).tolist() == [change, change]


def test_an_unknown_attribute_is_named_with_its_nearest(
    model: Dequantize, known: Attributes
) -> None:
    images = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(GlowkitError, match=r"'Lefts'; did you mean left\? known: left, lower"):
        edit(model, images, known, {"Lefts": 1.0})


def labelled(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Latents (N, 20): attribute 0 moves z₀ by 2, attribute 1 moves z₁ by 4, and they go together.

    The first ten images of attribute 1 are unknown.
    """
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(count, generator=generator) < 0.5
    second = first ^ (torch.rand(count, generator=generator) < 0.2)
    z = torch.randn(count, 20, generator=generator)
    z[:, 0] += 2.0 * first
    z[:, 1] += 4.0 * second
    values = torch.stack([first, second], 1).to(torch.int8) * 2 - 1
    values[:10, 1] = 0
    return z, values


def test_mean_directions_are_the_difference_of_means() -> None:
    z, values = labelled(500, seed=0)
    found = mean_directions([(z, values)])
    for a in range(2):
        has, lacks = z[values[:, a] > 0].mean(0), z[values[:, a] < 0].mean(0)
        torch.testing.assert_close(found[a], STRETCH * (has - lacks))


def test_mean_directions_do_not_depend_on_the_batches() -> None:
    z, values = labelled(500, seed=0)
    parts = zip(z.split(77), values.split(77), strict=True)
    torch.testing.assert_close(mean_directions(parts), mean_directions([(z, values)]))


def test_a_regression_separates_what_goes_together() -> None:
    """The mean difference of attribute 0 is mostly that of 1, which z₁ tells apart better."""
    z, values = labelled(2000, seed=0)
    mean, logistic = mean_directions([(z, values)])[0], logistic_directions([(z, values)])[0]
    share = [float(d[0].abs() / d.norm()) for d in (mean, logistic)]
    assert share[1] > share[0] + 0.1
    held_out = labelled(2000, seed=1)
    areas = [separation(d[None], [(held_out[0], held_out[1][:, :1])])[0] for d in (mean, logistic)]
    assert areas[1] > areas[0]


def test_a_regression_moves_as_far_along_its_axis_as_the_means_lie_apart() -> None:
    z, values = labelled(500, seed=0)
    mean, logistic = mean_directions([(z, values)]), logistic_directions([(z, values)])
    torch.testing.assert_close((logistic * mean).sum(1), (logistic * logistic).sum(1))


def test_a_regression_on_few_images_of_many_dimensions_still_points_the_right_way() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([1, -1]).repeat(20)[:, None]
    z = torch.randn(40, 2000, generator=generator)
    z[:, :4] += 3.0 * (values > 0)
    found = logistic_directions([(z, values)])[0]
    assert found[:4].min() > 3 * found[4:].square().mean().sqrt()


def test_a_regression_needs_both_kinds() -> None:
    with pytest.raises(GlowkitError, match="2 images of either kind"):
        logistic_directions([(torch.randn(9, 3), torch.tensor([1] * 8 + [-1])[:, None])])


@pytest.mark.parametrize("find", [mean_directions, logistic_directions])
def test_no_images_in_one_sentence(find) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(GlowkitError, match="no images"):
        find([])


def test_orthogonal_directions_leave_the_named_ones_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    before = attributes(("a", "b", "c", "d"), torch.randn(4, 30, generator=generator))
    after = orthogonal(before, ["b", "d"])
    assert torch.equal(after.directions[[1, 3]], before.directions[[1, 3]])
    products = after.directions[[0, 2]] @ before.directions[[1, 3]].T
    torch.testing.assert_close(products, torch.zeros(2, 2), atol=1e-5, rtol=0)
    changed = before.directions[0] - after.directions[0]
    residual = torch.linalg.lstsq(before.directions[[1, 3]].T, changed[:, None]).solution
    torch.testing.assert_close(before.directions[[1, 3]].T @ residual, changed[:, None])


def test_what_says_the_same_cannot_be_made_orthogonal() -> None:
    direction = torch.randn(30, generator=torch.Generator().manual_seed(0))
    with pytest.raises(GlowkitError, match=r"nothing is left of b .* to a"):
        orthogonal(attributes(("a", "b"), torch.stack([direction, -direction])), ["a"])


def test_separation_counts_pairs_in_the_right_order() -> None:
    z, values = labelled(200, seed=2)
    direction = torch.zeros(2, 20)
    direction[0, 0] = direction[1, 1] = 1.0
    parts = zip(z.split(33), values.split(33), strict=True)
    for a, area in enumerate(separation(direction, parts)):
        has, lacks = z[values[:, a] > 0, a], z[values[:, a] < 0, a]
        assert area == pytest.approx(float((has[:, None] > lacks).float().mean()))


def test_separation_of_one_kind_is_unknown() -> None:
    assert math.isnan(separation(torch.ones(1, 2), [(torch.randn(4, 2), torch.ones(4, 1))])[0])


def test_percentiles_of_held_out_images(known: Attributes) -> None:
    judged = known.judged((0.9, 0.8), torch.arange(1000.0))
    assert judged.auroc == (0.9, 0.8)
    assert [judged.percentile(bits) for bits in (-1.0, 500.0, 2000.0)] == [0, 51, 100]


def test_saved_and_read_back(known: Attributes, tmp_path: Path) -> None:
    path = tmp_path / "new" / "attributes.safetensors"
    save_attributes(known, path, "abc")
    again = load_attributes(path, "abc")
    assert torch.equal(again.directions, known.directions)
    assert torch.equal(again.percentiles, known.percentiles)
    assert (again.names, again.auroc, again.method) == (known.names, known.auroc, known.method)
    with pytest.raises(GlowkitError, match="other weights"):
        load_attributes(path, "abd")


@pytest.mark.parametrize("content", [b"", b"x" * 100, to_bytes({"a": torch.zeros(1)}), "newer"])
def test_damaged_files_in_one_sentence(
    content: bytes | str, known: Attributes, tmp_path: Path
) -> None:
    path = tmp_path / "attributes.safetensors"
    if isinstance(content, str):
        content = to_bytes(
            {"directions": known.directions, "percentiles": known.percentiles},
            {"glowkit": json.dumps({"format": 99})},
        )
    path.write_bytes(content)
    with pytest.raises(GlowkitError, match=r"damaged|newer"):
        load_attributes(path, "abc")
